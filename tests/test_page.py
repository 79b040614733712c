from carvana.results import page

HOSTILE = "<script>\"'&"


def test_a_page_escapes_what_it_shows_and_asks_for_nothing():
    content = page.render("features.html", photo=HOSTILE, levels={f"level {HOSTILE}": b"data"})
    assert "<script" not in content
    assert "<title>Feature maps of &lt;script&gt;&#34;&#39;&amp;</title>" in content
    assert "<h2>level &lt;script&gt;&#34;&#39;&amp;</h2>" in content
    assert 'alt="level &lt;script&gt;&#34;&#39;&amp;"' in content
    assert 'src="data:image/webp;base64,ZGF0YQ=="' in content
    assert "http" not in content
