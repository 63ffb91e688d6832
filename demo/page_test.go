package demo

import (
	"bufio"
	"encoding/json"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// fetch asks the handler alone.
func fetch(method, target string) *http.Response {
	w := httptest.NewRecorder()
	Backend().ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w.Result()
}

func TestPageHeaders(t *testing.T) {
	for _, target := range []string{"/", "/demo.js", "/none"} {
		h := fetch("GET", target).Header
		if got := h.Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("%s: X-Content-Type-Options %q; want nosniff", target, got)
		}
		csp := h.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: Content-Security-Policy %q; want %q in it", target, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") {
			t.Errorf("%s: Content-Security-Policy %q is lax", target, csp)
		}
	}
}

// pages are the names of all files of the page.
func pages(t *testing.T) (names []string) {
	t.Helper()
	err := fs.WalkDir(pageFiles, "page", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil || len(names) < 8 {
		t.Fatalf("files %q, %v", names, err)
	}
	return names
}

// TestPageFiles asks for each file and for each that it names.
func TestPageFiles(t *testing.T) {
	named := regexp.MustCompile(`(?:src|href|from)[= ]["'](?:\./)?([\w./-]+\.(?:js|css))["']`)
	kinds := map[string]string{".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".txt": "text/plain"}
	links := 0
	for _, name := range pages(t) {
		target := "/" + strings.TrimSuffix(strings.TrimPrefix(name, "page/"), "index.html")
		resp := fetch("GET", target)
		kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
		if resp.StatusCode != http.StatusOK || kind != kinds[path.Ext(name)] {
			t.Errorf("GET %s: status %d, type %q; want 200, %q", target, resp.StatusCode, kind, kinds[path.Ext(name)])
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllStringSubmatch(string(body), -1) {
			links++
			if _, err := fs.Stat(pageFiles, "page/"+m[1]); err != nil {
				t.Errorf("%s names %q: %v", name, m[1], err)
			}
		}
	}
	if links < 4 {
		t.Errorf("found %d links between the files; want at least 4, or the pattern is wrong", links)
	}
}

// TestPageKeepsToItself wants no other host, and no text that could become markup.
func TestPageKeepsToItself(t *testing.T) {
	bad := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|@import|https?://[^'" ]*`)
	for _, name := range pages(t) {
		text, err := fs.ReadFile(pageFiles, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range bad.FindAllString(string(text), -1) {
			if m != "http://www.w3.org/2000/svg" { // a name, not an address
				t.Errorf("%s has %q", name, m)
			}
		}
	}
}

func TestOtherPathsAndMethods(t *testing.T) {
	for _, tt := range []struct {
		method, target string
		want           int
	}{
		{"GET", "/none", 404},
		{"GET", "/page/", 404},
		{"GET", "/%2e%2e/demo.go", 404},
		{"HEAD", "/", 200},
		{"POST", "/", 405},
		{"POST", "/echo", 405},
		{"POST", "/api/hello", 405},
	} {
		if got := fetch(tt.method, tt.target).StatusCode; got != tt.want {
			t.Errorf("%s %s: status %d; want %d", tt.method, tt.target, got, tt.want)
		}
	}
}

func TestHelloTellsTheRequest(t *testing.T) {
	r := httptest.NewRequest("GET", "http://demo.example:81/api/hello", nil)
	r.Header.Set("X-Forwarded-For", "192.0.2.7")
	w := httptest.NewRecorder()
	Backend().ServeHTTP(w, r)
	var got greeting
	if err := json.NewDecoder(w.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if want := (greeting{"hello", "demo.example:81", "192.0.2.7"}); got != want {
		t.Errorf("got %+v; want %+v", got, want)
	}
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q; want application/json", got)
	}
}

func TestStreamFlushesEveryLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		resp, err := reach(t, Backend()).get(t.Context(), "/api/stream")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		start := time.Now()
		lines := bufio.NewScanner(resp.Body)
		n := 0
		for ; lines.Scan(); n++ {
			if got, want := time.Since(start), time.Duration(n)*streamPause; got != want {
				t.Errorf("line %d came after %v; want %v", n+1, got, want)
			}
			if got, want := lines.Text()+"\n", streamLine(n+1); got != want {
				t.Errorf("got %q; want %q", got, want)
			}
		}
		if n != streamLines || lines.Err() != nil {
			t.Errorf("%d lines, %v; want %d", n, lines.Err(), streamLines)
		}
	})
}

// The bubble fails if the handler goes on after its client has left.
func TestStreamEndsWithItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan time.Time, 1)
		start := time.Now()
		resp, err := reach(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			stream(w, r)
			ended <- time.Now()
		})).get(t.Context(), "/api/stream")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := (<-ended).Sub(start); got > streamPause {
			t.Errorf("the stream went on for %v; want at most %v", got, streamPause)
		}
	})
}
