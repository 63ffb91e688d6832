package polling

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sidecar/access"
)

func TestAnswersCarryCORSForWhoMayRead(t *testing.T) {
	for _, c := range []struct {
		name    string
		origins access.Origins
		origin  string
		allow   string // "": refused, "-": none
		cookies string
	}{
		{"no origin", nil, "", "-", ""},
		{"same", nil, "http://us.example", "http://us.example", "true"},
		{"foreign", nil, "http://evil.example", "", ""},
		{"listed", access.Origins{"https://page.example"}, "https://page.example", "https://page.example", "true"},
		{"below a listed one", access.Origins{"https://*.page.example"}, "https://a.page.example", "https://a.page.example", "true"},
		{"not listed", access.Origins{"https://page.example"}, "http://us.example", "", ""},
		{"any", access.Origins{"*"}, "https://evil.example", "https://evil.example", ""},
		{"any, and listed", access.Origins{"*", "https://page.example"}, "https://page.example", "https://page.example", "true"},
		{"any, and not listed", access.Origins{"*", "https://page.example"}, "https://evil.example", "https://evil.example", ""},
		{"null", access.Origins{"null"}, "null", "null", ""},
		{"null for any", access.Origins{"*"}, "null", "null", ""},
	} {
		d := &Desk{Guard: &access.Guard{Origins: c.origins}}
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "http://us.example/poll", nil)
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		_, err := d.Check(w, r)
		if (err != nil) != (c.allow == "") {
			t.Errorf("%s: refused: %v", c.name, err)
		}
		h := w.Header()
		if got := h.Get("Access-Control-Allow-Origin"); got != strings.Trim(c.allow, "-") {
			t.Errorf("%s: allows %q; want %q", c.name, got, c.allow)
		}
		if got := h.Get("Access-Control-Allow-Credentials"); got != c.cookies {
			t.Errorf("%s: credentials %q; want %q", c.name, got, c.cookies)
		}
		if h.Get("Vary") != "Origin" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", c.name, h)
		}
	}
}

func TestPreflight(t *testing.T) {
	inEveryWay(t, every, func(t *testing.T, r *rig) {
		origin := r.URL
		a := await(t, r.ask("OPTIONS", "/poll", nil, "Origin", origin, "Access-Control-Request-Headers", "x-one, x-two"))
		if a.StatusCode != http.StatusNoContent {
			t.Errorf("status %d; want 204", a.StatusCode)
		}
		for name, want := range map[string]string{
			"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true",
			"Access-Control-Allow-Methods": "GET, POST, OPTIONS", "Access-Control-Allow-Headers": "x-one, x-two",
			"Access-Control-Max-Age": "7200", "Cache-Control": "no-store",
		} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s: %q; want %q", name, got, want)
			}
		}
		if got := a.Header["Vary"]; len(got) != 2 || got[0] != "Origin" {
			t.Errorf("Vary: %q", got)
		}
		if a := await(t, r.ask("OPTIONS", "/poll", nil, "Origin", "http://evil.example")); a.StatusCode != 403 || a.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("a foreign page got %d %v", a.StatusCode, a.Header)
		}
	})
}

// unsized hides that a reader knows its length, so that the body goes out in chunks.
type unsized struct{ io.Reader }

func TestBodies(t *testing.T) {
	inEveryWay(t, every, func(t *testing.T, r *rig) {
		for _, c := range []struct {
			name   string
			body   io.Reader
			header []string
			status int
			says   string
		}{
			{"none", nil, nil, 200, "0 bytes"},
			{"small", strings.NewReader("4hello"), nil, 200, "6 bytes"},
			{"in chunks", unsized{strings.NewReader("4hello")}, nil, 200, "6 bytes"},
			{"the most", bytes.NewReader(make([]byte, 4096)), nil, 200, "4096 bytes"},
			{"the most in chunks", unsized{bytes.NewReader(make([]byte, 4096))}, nil, 200, "4096 bytes"},
			{"one more", bytes.NewReader(make([]byte, 4097)), nil, 413, "at most 4096"},
			{"one more in chunks", unsized{bytes.NewReader(make([]byte, 4097))}, nil, 413, "at most 4096"},
			{"gzip", strings.NewReader("x"), []string{"Content-Encoding", "gzip"}, 415, "Content-Encoding"},
			{"identity", strings.NewReader("x"), []string{"Content-Encoding", "identity"}, 200, "1 bytes"},
			{"expected", strings.NewReader("abc"), []string{"Expect", "100-continue"}, 200, "3 bytes"},
			{"too much expected", bytes.NewReader(make([]byte, 5000)), []string{"Expect", "100-continue"}, 413, "at most"},
		} {
			a := await(t, r.ask("POST", "/post", c.body, c.header...))
			if a.StatusCode != c.status || !strings.Contains(a.body, c.says) {
				t.Errorf("%s: %d %q; want %d %q", c.name, a.StatusCode, a.body, c.status, c.says)
			}
		}
	})
}

// The answer comes before the body, which is never asked for.
func TestALargeBodyIsRefusedByItsLength(t *testing.T) {
	inEveryWay(t, clear, func(t *testing.T, r *rig) {
		t.Parallel()
		c := r.dial()
		c.send("POST /post HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4097\r\n\r\n")
		if a := c.answer(); a.StatusCode != 413 || !a.Close {
			t.Errorf("got %d, close %v; want 413 and the end", a.StatusCode, a.Close)
		}
		c.ended()
	})
}

func TestExpectedBodiesAreAskedFor(t *testing.T) {
	inEveryWay(t, clear, func(t *testing.T, r *rig) {
		c := r.dial()
		c.send("POST /post HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
		if a := c.answer(); a.StatusCode != 100 {
			t.Fatalf("got %d; want 100", a.StatusCode)
		}
		c.send("abc")
		if a := c.answer(); a.StatusCode != 200 || a.body != "3 bytes" {
			t.Errorf("got %d %q", a.StatusCode, a.body)
		}
	})
}

// A body has its time, and more for what came; one that trickles is cut off.
func TestASlowBody(t *testing.T) {
	inEveryWay(t, clear, func(t *testing.T, r *rig) {
		t.Parallel()
		r.desk.BodyTimeout = 200 * time.Millisecond
		c := r.dial()
		begun := time.Now()
		c.send("POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx")
		go func() {
			for range 100 {
				if _, err := c.Write([]byte("x")); err != nil {
					return
				}
				<-time.After(20 * time.Millisecond)
			}
		}()
		if a := c.answer(); a.StatusCode != http.StatusRequestTimeout {
			t.Errorf("got %d; want 408", a.StatusCode)
		}
		if d := time.Since(begun); d < 200*time.Millisecond || d > 5*time.Second {
			t.Errorf("after %v; want 200ms", d)
		}
		c.ended()
	})
}

func TestABodyThatComesHasMoreTime(t *testing.T) {
	inEveryWay(t, every, func(t *testing.T, r *rig) {
		t.Parallel()
		r.desk.BodyTimeout = 500 * time.Millisecond
		body, w := io.Pipe()
		got := r.ask("POST", "/post", body)
		w.Write(make([]byte, 2048)) // 2 s more
		<-time.After(time.Second)
		w.Write(make([]byte, 100))
		w.Close()
		if a := await(t, got); a.StatusCode != 200 || a.body != "2148 bytes" {
			t.Errorf("got %d %q", a.StatusCode, a.body)
		}
	})
}

func TestABodyCutShort(t *testing.T) {
	inEveryWay(t, clear, func(t *testing.T, r *rig) {
		c := r.dial()
		c.send("POST /post HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
		if a := c.answer(); a.StatusCode != 400 || !a.Close {
			t.Errorf("got %d, close %v; want 400 and the end", a.StatusCode, a.Close)
		}
	})
}

// What is announced and not sent takes no memory.
func TestAnAnnouncedBodyTakesNoRoom(t *testing.T) {
	d := &Desk{}
	r := httptest.NewRequest("POST", "/", unsized{strings.NewReader("")})
	r.ContentLength = 1 << 30
	size := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			if body, err := d.Read(httptest.NewRecorder(), r, 1<<30); err != nil || len(body) != 0 {
				b.Fatal(len(body), err)
			}
		}
	}).AllocedBytesPerOp()
	if size > 16<<10 {
		t.Errorf("%d bytes for a body of which nothing came", size)
	}
}
