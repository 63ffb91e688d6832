package polling

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// A feed is a source in the hands of a test.
type feed struct {
	out  *Stream
	left chan struct{} // told each time that it is gone

	mu      sync.Mutex
	pending []byte
	ends    bool
	endless bool // there is always more
	asked   bool // Next runs
	over    bool // it said that it ends
	faults  []string
}

// stream serves one whose first piece is "head ".
func (r *rig) stream(w http.ResponseWriter, q *http.Request) {
	if _, err := r.desk.Read(w, q, 100); err != nil {
		r.t.Errorf("Read: %v", err)
	}
	f := &feed{out: r.desk.Stream(w, q, "text/plain"), left: make(chan struct{}, 10)}
	if err := f.out.Write([]byte("head ")); err != nil {
		return
	}
	r.feeds <- f
	f.out.Run(f)
}

func (f *feed) Next(b []byte) (out []byte, more, ends bool) {
	f.enter()
	defer f.exit()
	n := min(piece, len(f.pending))
	b = append(b, f.pending[:n]...)
	f.pending = f.pending[n:]
	f.over = f.ends && len(f.pending) == 0
	if f.endless {
		b = append(b, large[:piece]...)
	}
	return b, len(f.pending) > 0 || f.endless, f.over
}

func (f *feed) enter() {
	f.mu.Lock()
	if f.asked || f.over {
		f.faults = append(f.faults, fmt.Sprintf("Next was called: at once %v, after the end %v", f.asked, f.over))
	}
	f.asked = true
}

func (f *feed) exit() { f.asked = false; f.mu.Unlock() }

func (f *feed) Gone() { f.left <- struct{}{} }

// say has b written, and then the end of the answer.
func (f *feed) say(b string, ends bool) {
	f.mu.Lock()
	f.pending = append(f.pending, b...)
	f.ends = ends
	f.mu.Unlock()
	f.out.Wake()
}

// leaves waits until it is gone, which it may be once.
func (f *feed) leaves(t testing.TB) {
	t.Helper()
	select {
	case <-f.left:
	case <-time.After(patience):
		t.Fatal("a stream is not gone")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fault := range f.faults {
		t.Error(fault)
	}
	if len(f.left) > 0 {
		t.Error("a stream is gone twice")
	}
}

// feed is the next stream's.
func (r *rig) feed() *feed {
	r.t.Helper()
	select {
	case f := <-r.feeds:
		return f
	case <-time.After(patience):
		r.t.Fatal("no stream has begun")
		return nil
	}
}

// open begins a stream, and has its body, of which the head was read.
func (r *rig) open() (io.ReadCloser, *feed) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	r.t.Cleanup(cancel)
	res, err := r.Client().Do(must(http.NewRequestWithContext(ctx, "GET", r.URL+"/stream", nil)))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { res.Body.Close() })
	if got := res.Header.Get("Content-Type"); res.StatusCode != 200 || got != "text/plain" || res.ContentLength != -1 {
		r.t.Errorf("got %d of %q, %d bytes; want 200 of text/plain, endless", res.StatusCode, got, res.ContentLength)
	}
	wants(r.t, res.Body, "head ")
	return res.Body, r.feed()
}

// wants reads what must come next.
func wants(t testing.TB, from io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(from, got); err != nil || string(got) != want {
		t.Fatalf("got %.40q, %v; want %.40q", got[:n], err, want)
	}
}

func TestAStreamGoesOnAndEnds(t *testing.T) {
	inEveryWay(t, every, func(t *testing.T, r *rig) {
		body, f := r.open()
		for i := range 100 {
			f.say(fmt.Sprint(i, " "), false)
			wants(t, body, fmt.Sprint(i, " "))
		}
		f.say(large, false)
		wants(t, body, large)
		r.settled(held, 1)
		f.say("bye", true)
		if b, err := io.ReadAll(body); err != nil || string(b) != "bye" {
			t.Errorf("got %q, %v; want bye and the end", b, err)
		}
		f.leaves(t)
		r.settled(idle, 1)
		f.say("late", false) // nobody asks
	})
}

// What follows a stream on its connection is the next answer.
func TestAConnectionIsUsedAgainAfterAStream(t *testing.T) {
	inEveryWay(t, clear, func(t *testing.T, r *rig) {
		c := r.dial()
		c.get("/stream")
		f := r.feed()
		r.settled(held, 1)
		c.get("/now") // ahead
		f.say("one", false)
		f.say("", true)
		if a := c.answer(); a.body != "head one" {
			t.Errorf("got %q; want head one", a.body)
		}
		f.leaves(t)
		for range 2 {
			if a := c.answer(); a.body != "now" {
				t.Errorf("then got %q; want now", a.body)
			}
			c.get("/now")
		}
	})
}

// Each piece is a chunk of its own and leaves at once.
func TestAStreamIsChunked(t *testing.T) {
	inEveryWay(t, clear, func(t *testing.T, r *rig) {
		c := r.dial()
		c.get("/stream")
		f := r.feed()
		for line := ""; line != "\r\n"; {
			var err error
			if line, err = c.r.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		wants(t, c.r, "5\r\nhead \r\n")
		f.say("x", false)
		wants(t, c.r, "1\r\nx\r\n")
		f.say(strings.Repeat("y", 0x2ab), false)
		wants(t, c.r, "2ab\r\n"+strings.Repeat("y", 0x2ab)+"\r\n")
		f.say("", true)
		wants(t, c.r, "0\r\n\r\n")
		f.leaves(t)
	})
}

// A client that knows no chunks has the stream up to the connection's end.
func TestAStreamWithoutChunks(t *testing.T) {
	inEveryWay(t, clear, func(t *testing.T, r *rig) {
		c := r.dial()
		c.send("GET /stream HTTP/1.0\r\nHost: a\r\n\r\n")
		f := r.feed()
		f.say("one", false)
		f.say("two", true)
		if a := c.answer(); a.body != "head onetwo" || !a.Close {
			t.Errorf("got %q, close %v; want head onetwo, and the end", a.body, a.Close)
		}
		f.leaves(t)
		c.ended()
	})
}

func TestAStreamWhoseClientLeaves(t *testing.T) {
	inEveryWay(t, every, func(t *testing.T, r *rig) {
		body, f := r.open()
		f.say("x", false)
		wants(t, body, "x")
		r.settled(held, 1)
		body.Close()
		f.leaves(t)
		f.say("late", false)
		if r.way.parks() {
			within(t, "leaving the lot", func() bool { return r.desk.Lot.Len() == 0 })
		}
	})
}

func TestAStreamThatIsTakenSlowly(t *testing.T) {
	inEveryWay(t, clear, func(t *testing.T, r *rig) {
		c := r.dial()
		c.narrow()
		c.get("/stream")
		f := r.feed()
		f.say(large+large, false)
		r.settled(writing, 1)
		var all sync.WaitGroup
		for range 10 { // while the loop writes
			all.Go(func() { f.say("x", false) })
		}
		all.Wait()
		f.say("", true)
		if a := c.answer(); a.body != "head "+large+large+strings.Repeat("x", 10) {
			t.Errorf("%d bytes came; want %d", len(a.body), 2*len(large)+15)
		}
		f.leaves(t)
	})
}

func TestAStreamOfWhichNothingIsTakenIsCut(t *testing.T) {
	inEveryWay(t, every, func(t *testing.T, r *rig) {
		t.Parallel()
		r.desk.WriteTimeout = 300 * time.Millisecond
		if r.way.http2 { // the client takes it all, and keeps it
			r.Client().Transport.(*http.Transport).HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10, MaxReceiveBufferPerConnection: 64 << 10}
		}
		body, f := r.open()
		f.mu.Lock()
		f.endless = true
		f.mu.Unlock()
		f.out.Wake()
		f.leaves(t)
		if _, err := io.Copy(io.Discard, body); err == nil {
			t.Error("the answer ended well")
		}
	})
}

// What is said before the stream is parked is not lost.
func TestAStreamThatIsWokenEarly(t *testing.T) {
	inEveryWay(t, every, func(t *testing.T, r *rig) {
		for i := range 50 {
			res := make(chan reply, 1)
			go func() { res <- r.do(must(http.NewRequest("GET", r.URL+"/stream", nil))) }()
			f := r.feed()
			f.say(fmt.Sprint(i), true)
			if a := await(t, res); a.body != fmt.Sprint("head ", i) {
				t.Fatalf("got %q; want head %d", a.body, i)
			}
			f.leaves(t)
		}
	})
}

func must(q *http.Request, err error) *http.Request {
	if err != nil {
		panic(err)
	}
	return q
}

// Messages come from anywhere while clients take them, leave, or the stream ends.
func TestStreamingRacesAll(t *testing.T) {
	inEveryWay(t, every, func(t *testing.T, r *rig) {
		const clients, said, by = 24, 20, 3
		left := make(chan *feed, clients)
		var all sync.WaitGroup
		for n := range clients {
			body, f := r.open()
			for range by {
				all.Go(func() {
					for range said {
						f.say("x", false)
					}
				})
			}
			all.Go(func() {
				if n%3 == 0 {
					io.CopyN(io.Discard, body, int64(n))
					body.Close()
				} else {
					got := make([]byte, said*by)
					if _, err := io.ReadFull(body, got); err != nil || string(got) != strings.Repeat("x", said*by) {
						t.Errorf("got %q, %v", got, err)
					}
					f.say("", true)
					if b, err := io.ReadAll(body); err != nil || len(b) > 0 {
						t.Errorf("then got %q, %v; want the end", b, err)
					}
				}
				left <- f
			})
		}
		for range clients {
			(<-left).leaves(t)
		}
		all.Wait()
	})
}
