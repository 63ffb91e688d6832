package resumable

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Write waits for the window, and no longer than its context.
func TestWriteWaitsForTheWindow(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig, kind Transport) {
		c := r.open(r.options(kind))
		r.echo(c, "hello")
		time.Sleep(10 * time.Second) // until all is acknowledged
		r.breakDown(errors.New("no network"))
		r.cut()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		start, n := time.Now(), 0
		var err error
		for ; err == nil; n++ {
			err = c.Write(ctx, Binary, make([]byte, 1000))
		}
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != time.Second {
			t.Errorf("Write: %v after %v; want its context's end after 1s", err, took)
		}
		// 64 KiB at 1064 a message, and the one that goes beyond
		if got, want := n-1, 62; got != want || c.Buffered() != int64(want)*1000 {
			t.Errorf("%d messages went in, %d bytes are kept; want %d", got, c.Buffered(), want)
		}
		r.breakDown(nil)
		c.CheckNetwork()
		for range n - 1 {
			if _, p, err := c.Read(context.Background()); err != nil || len(p) != 1000 {
				t.Fatalf("Read: %d bytes, %v", len(p), err)
			}
		}
		time.Sleep(5 * time.Second)
		if got := c.Buffered(); got != 0 {
			t.Errorf("%d bytes are kept after they were acknowledged", got)
		}
	})
}

// The backend's close comes behind its messages, to a client that was away too.
func TestCloseByTheBackend(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig, kind Transport) {
		c := r.open(r.options(kind))
		r.echo(c, "hello")
		r.breakDown(errors.New("no network"))
		r.cut()
		s := r.f.only()
		s.do(func() { s.out.add(false, []byte("tail")); s.out.finish(4321, "over") })
		time.Sleep(10 * time.Second)
		r.breakDown(nil)
		ctx := context.Background()
		if _, p, err := c.Read(ctx); err != nil || string(p) != "tail" {
			t.Errorf("Read: %q, %v", p, err)
		}
		var end *CloseError
		if _, _, err := c.Read(ctx); !errors.As(err, &end) || end.Code != 4321 || end.Reason != "over" {
			t.Errorf("Read: %v; want the backend's close", err)
		}
		synctest.Wait()
		s.mu.Lock()
		if got := s.out.taken.number; got != s.out.close.Number+1 {
			t.Errorf("acknowledged up to %d; want the CLOSE %d", got-1, s.out.close.Number)
		}
		s.mu.Unlock()
		if err := c.Close(1000, ""); err != nil {
			t.Errorf("Close after the end: %v", err)
		}
	})
}

// CloseWrite ends one direction: what comes still comes.
func TestCloseWrite(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig, kind Transport) {
		c := r.open(r.options(kind))
		ctx := context.Background()
		for range 3 {
			if err := c.Write(ctx, Text, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.CloseWrite(1005, ""); err != nil {
			t.Errorf("CloseWrite: %v", err)
		}
		if err := c.Write(ctx, Text, nil); err != ErrClosed {
			t.Errorf("Write: %v; want ErrClosed", err)
		}
		for range 3 {
			if _, p, err := c.Read(ctx); err != nil || string(p) != "x" {
				t.Errorf("Read: %q, %v", p, err)
			}
		}
		var end *CloseError
		if _, _, err := c.Read(ctx); !errors.As(err, &end) || end.Code != 1005 {
			t.Errorf("Read: %v; want 1005", err)
		}
	})
}

// CloseNow waits for nobody, and tells the server all the same; without a network too.
func TestCloseNow(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig, kind Transport) {
		c := r.open(r.options(kind))
		r.echo(c, "hello")
		start := time.Now()
		c.CloseNow()
		synctest.Wait()
		s := r.f.only()
		s.mu.Lock()
		if s.in.closed == nil || s.in.closed.Code != 1001 {
			t.Errorf("the server was told %+v; want 1001", s.in.closed)
		}
		s.mu.Unlock()
		if took := time.Since(start); took > lastWords {
			t.Errorf("it took %v", took)
		}
		if _, _, err := c.Read(context.Background()); err != ErrClosed {
			t.Errorf("Read: %v; want ErrClosed", err)
		}
		if err := c.CloseNow(); err != nil {
			t.Errorf("CloseNow again: %v", err)
		}
	})
}

func TestCloseWithoutAnAnswer(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig, kind Transport) {
		o := r.options(kind)
		o.CloseTimeout = 3 * time.Second
		c := r.open(o)
		r.echo(c, "hello")
		r.breakDown(errors.New("no network"))
		r.cut()
		start := time.Now()
		if err := c.Close(1000, ""); err == nil {
			t.Error("Close: no error")
		}
		if took := time.Since(start); took < 3*time.Second || took > 3*time.Second+lastWords {
			t.Errorf("Close took %v; want 3s and last words", took)
		}
	})
}

func TestReadUnderAContext(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig, kind Transport) {
		c := r.open(r.options(kind))
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, _, err := c.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Read: %v; want its context's end", err)
		}
		if err := c.Write(ctx, Text, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Write: %v; want its context's end", err)
		}
		r.echo(c, "the connection lives")
	})
}

func TestMessagesThatMayNotGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		c := r.open(r.options())
		ctx := context.Background()
		if err := c.Write(ctx, Binary, make([]byte, 1<<20+1)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("a message too large: %v; want ErrTooLarge", err)
		}
		if err := c.Write(ctx, Text, []byte{0xff}); err == nil {
			t.Error("text that is no UTF-8: no error")
		}
		for _, code := range []int{0, 999, 1004, 1006, 1012, 2999, 5000} {
			if err := c.CloseWrite(code, ""); err == nil {
				t.Errorf("close with %d: no error", code)
			}
		}
		if err := c.CloseWrite(1000, strings.Repeat("x", 124)); err == nil {
			t.Error("a reason of 124 bytes: no error")
		}
		r.echo(c, "the connection lives")
	})
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]*Options{
		"window": {Window: 100}, "transport": {Transports: []Transport{"pigeon"}}, "subprotocol": {Subprotocols: []string{"sidecar.x"}},
		"subprotocol: ": {Subprotocols: []string{"a b"}},
		"header":        {Header: map[string][]string{"Sec-WebSocket-Key": {"x"}}}, "negative": {CloseTimeout: -1},
	} {
		if _, err := Dial(context.Background(), "ws://server.test/", o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: Dial: %v; want an error that says so", name, err)
		}
	}
	for _, url := range []string{"", "ftp://server.test/", "ws://", "ws://me@server.test/", "::"} {
		if _, err := Dial(context.Background(), url, nil); err == nil {
			t.Errorf("%q: Dial: no error", url)
		}
	}
}
