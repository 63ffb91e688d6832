package server

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// pause is longer than the write_timeout of 1s below.
func pause(r *http.Request) {
	select {
	case <-time.After(1500 * time.Millisecond):
	case <-r.Context().Done():
	}
}

// An answer may pause for longer than write_timeout, as an event stream does, when
// its client takes all there is.
func TestQuietAnswersLast(t *testing.T) {
	b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hints" {
			w.WriteHeader(http.StatusEarlyHints)
			pause(r)
		}
		for _, text := range []string{"", "one", "two"} {
			_, _ = io.WriteString(w, text)
			_ = http.NewResponseController(w).Flush()
			pause(r)
		}
	}))
	t.Cleanup(b.Close)
	s := startTLS(t, "upstream: %s\nlimits: {write_timeout: 1s}", b.URL)
	for _, c := range []struct {
		path string
		h2   bool
	}{{"/", false}, {"/", true}, {"/hints", false}, {"/hints", true}} {
		t.Run(fmt.Sprintf("%s, HTTP/2 %v", c.path, c.h2), func(t *testing.T) {
			t.Parallel()
			res, err := s.client(c.h2).Get(s.url(c.path))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if body, err := io.ReadAll(res.Body); err != nil || string(body) != "onetwo" {
				t.Errorf("got %q, %v; want the whole answer", body, err)
			}
		})
	}
}
