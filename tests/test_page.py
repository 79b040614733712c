from carvana.results import page
from carvana.results.pictures import Picture

HOSTILE = "<script>\"'&"


def test_a_page_escapes_what_it_shows_and_asks_for_nothing():
    picture = Picture(b"data", 30, 20)
    levels = [{"name": HOSTILE, "text": "1 channel", "picture": picture}]
    content = page.render("features.html", name=HOSTILE, photo=picture, levels=levels)
    assert "<script" not in content
    escaped = "&lt;script&gt;&#34;&#39;&amp;"
    assert f"<title>Feature maps of {escaped}</title>" in content
    assert f">{escaped}: 1 channel</h2>" in content
    assert f'width="30" height="20" alt="{escaped}" src="data:image/webp;base64,ZGF0YQ=="' in content
    assert "http" not in content
