package test

import (
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"

	"sidecar/protocol/resume/wire"
)

// A meddler stands between clients and a sidecar, reads their requests, and does what
// networks and proxies do to them. WebSockets go through, unless upgrade says otherwise.
type meddler struct {
	addr    string
	server  *httptest.Server
	target  *url.URL
	through *httputil.ReverseProxy
	client  *http.Client
	upgrade http.HandlerFunc // nil: goes through

	mu    sync.Mutex
	deed  deed // what is done to the requests that which chooses; nil: nothing
	which func(kind wire.Kind, body []byte) bool
	done  int
	late  chan struct{} // closed when another request has gone by
}

// A deed does something to one request in the place of passing it on.
type deed func(m *meddler, w http.ResponseWriter, r *http.Request, body []byte)

func meddle(t testing.TB, addr string) *meddler {
	t.Helper()
	target := &url.URL{Scheme: "http", Host: addr}
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16}
	m := &meddler{target: target, client: &http.Client{Transport: transport}}
	m.through = &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		Transport:     transport,
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0),
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	m.server = httptest.NewUnstartedServer(m)
	m.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	m.server.Start()
	m.addr = m.server.Listener.Addr().String()
	t.Cleanup(func() {
		m.server.CloseClientConnections()
		transport.CloseIdleConnections()
		m.server.Close()
	})
	return m
}

// do has something done to the requests that which chooses.
func (m *meddler) do(which func(kind wire.Kind, body []byte) bool, what deed) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.which, m.deed, m.done = which, what, 0
}

// often is how often it was done.
func (m *meddler) often() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.done
}

func (m *meddler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "" {
		if m.upgrade != nil {
			m.upgrade(w, r)
			return
		}
		m.through.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if what := m.choose(r, body); what != nil {
		what(m, w, r, body)
		return
	}
	m.pass(w, r, body)
	m.tell()
}

func (m *meddler) choose(r *http.Request, body []byte) deed {
	kind, _, _ := wire.CutKind(r.URL.RawQuery)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.deed == nil || !m.which(kind, body) {
		return nil
	}
	m.done++
	return m.deed
}

// pass passes a request on, and its answer as it comes.
func (m *meddler) pass(w http.ResponseWriter, r *http.Request, body []byte) {
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	m.through.ServeHTTP(w, r)
}

// tell lets those go on who wait for another request to overtake theirs.
func (m *meddler) tell() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.late != nil {
		close(m.late)
		m.late = nil
	}
}

// fetch makes the request and returns the whole answer.
func (m *meddler) fetch(ctx context.Context, r *http.Request, body []byte) (*http.Response, []byte, error) {
	a, err := m.again(ctx, r, body)
	if err != nil {
		return nil, nil, err
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	return a, b, err
}

// again makes the request.
func (m *meddler) again(ctx context.Context, r *http.Request, body []byte) (*http.Response, error) {
	u := *m.target
	u.Path, u.RawQuery = r.URL.Path, r.URL.RawQuery
	again, err := http.NewRequestWithContext(ctx, r.Method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	again.Header, again.Host = r.Header.Clone(), r.Host
	return m.client.Do(again)
}

// loseRequest: the server gets nothing.
func loseRequest(*meddler, http.ResponseWriter, *http.Request, []byte) { panic(http.ErrAbortHandler) }

// loseAnswer: the server has it, and the client does not know.
func loseAnswer(m *meddler, _ http.ResponseWriter, r *http.Request, body []byte) {
	ctx := r.Context()
	if kind, _, _ := wire.CutKind(r.URL.RawQuery); kind == wire.Stream {
		var cancel context.CancelFunc // for it would not end
		ctx, cancel = context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
	}
	m.fetch(ctx, r, body)
	panic(http.ErrAbortHandler)
}

// truncate: half of the answer comes.
func truncate(m *meddler, w http.ResponseWriter, r *http.Request, body []byte) {
	a, b, err := m.fetch(r.Context(), r, body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	for name, values := range a.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.StatusCode)
	w.Write(b[:len(b)/2]) // of the Content-Length that was announced
	panic(http.ErrAbortHandler)
}

// twinLives bounds a doubled request, which may be a stream's.
const twinLives = 2 * time.Second

// double: the server gets it twice at the same time, and one answer comes back.
func double(m *meddler, w http.ResponseWriter, r *http.Request, body []byte) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), twinLives)
	twin := make(chan struct{})
	go func() {
		defer close(twin)
		defer cancel()
		m.fetch(ctx, r, body)
	}()
	m.pass(w, r, body)
	m.tell()
	<-twin
}

// doubleBefore: it comes again once a stream has its WELCOME, which goes nowhere, as where
// a connection dies and who is on the way asks again.
func doubleBefore(m *meddler, w http.ResponseWriter, r *http.Request, body []byte) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), twinLives)
	defer cancel()
	if a, err := m.again(ctx, r, body); err == nil {
		defer a.Body.Close()
		_, _ = io.CopyN(io.Discard, a.Body, padding+1)
	}
	m.pass(w, r, body)
	m.tell()
}

// padding is what a stream begins with, at once.
const padding = 2048

// doubleLate: it comes again when it was answered long ago.
func doubleLate(m *meddler, w http.ResponseWriter, r *http.Request, body []byte) {
	m.pass(w, r, body)
	m.tell()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), twinLives)
	defer cancel()
	overtaken(m, ctx)
	m.fetch(ctx, r, body)
}

// delay: later requests overtake it.
func delay(m *meddler, w http.ResponseWriter, r *http.Request, body []byte) {
	overtaken(m, r.Context())
	m.pass(w, r, body)
}

// overtaken waits until another request has gone by, but not for long.
func overtaken(m *meddler, ctx context.Context) {
	m.mu.Lock()
	if m.late == nil {
		m.late = make(chan struct{})
	}
	late := m.late
	m.mu.Unlock()
	timer := time.NewTimer(200 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-late:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// refuse is a proxy that lets no WebSocket through.
func refuse(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }

// hang is one that never answers them.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// kill is one that ends them, by a RST, so long after it let them through.
func (m *meddler) kill(after time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		there, err := net.Dial("tcp", m.target.Host)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer there.Close()
		here, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer here.Close()
		end := func() {
			here.(*net.TCPConn).SetLinger(0)
			here.Close()
			there.Close()
		}
		defer time.AfterFunc(after, end).Stop()
		if r.Write(there) != nil {
			return
		}
		var up sync.WaitGroup
		up.Go(func() { io.Copy(there, here); end() })
		io.Copy(here, there)
		end()
		up.Wait()
	}
}
