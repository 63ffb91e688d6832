package demo

import (
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"time"
)

//go:embed page
var pageFiles embed.FS

// What /api/stream sends.
const (
	streamLines = 5
	streamPause = 200 * time.Millisecond
)

// policy lets the page load its own files and connect to its own origin, and
// nothing else. 'self' covers ws: and wss: of the same host.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// page serves index.html at / and the files it needs, and 404 for the rest.
func page() http.Handler {
	files, err := fs.Sub(pageFiles, "page")
	if err != nil {
		panic(err) // only a misspelt name could
	}
	serve := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("Cache-Control", "no-cache")
		serve.ServeHTTP(w, r)
	})
}

// A greeting is what /api/hello answers: the request as it arrived.
type greeting struct {
	Message      string `json:"message"`
	Host         string `json:"host"`
	ForwardedFor string `json:"forwarded_for"`
}

func hello(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	g := greeting{Message: "hello", Host: r.Host, ForwardedFor: r.Header.Get("X-Forwarded-For")}
	_ = json.NewEncoder(w).Encode(g) // the client may be gone
}

// stream sends a line, and then another every streamPause, so that it can be
// seen whether they arrive as they are sent.
func stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	pause := time.NewTicker(streamPause)
	defer pause.Stop()
	for n := 1; ; n++ {
		if _, err := io.WriteString(w, streamLine(n)); err != nil || http.NewResponseController(w).Flush() != nil {
			return
		}
		if n == streamLines {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-pause.C:
		}
	}
}

func streamLine(n int) string { return fmt.Sprintf("line %d of %d\n", n, streamLines) }
