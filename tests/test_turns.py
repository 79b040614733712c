import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from carvana.cutouts.turns import Turns


def test_threads_never_hold_more_than_there_is_together():
    turns, lock, held, most = Turns(10), threading.Lock(), [], []

    def work(size):
        with turns.holding(size):
            with lock:
                held.append(size)
                most.append(sum(held))
            with lock:
                held.remove(size)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [1, 4, 7, 10, 3, 6] * 50))
    assert max(most) <= 10


def test_work_side_by_side_fits_and_a_larger_one_has_it_all():
    turns, both = Turns(10), threading.Barrier(2, timeout=10)

    def work(size):
        with turns.holding(size):
            both.wait()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, [5, 5]))
    with turns.holding(99):
        pass
    with pytest.raises(ZeroDivisionError), turns.holding(10):
        raise ZeroDivisionError
    with turns.holding(10):
        pass
