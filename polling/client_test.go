package polling

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestAnAnswerIsOneWrite(t *testing.T) {
	inEveryWay(t, clear, func(t *testing.T, r *rig) {
		c := r.dial()
		c.get("/poll")
		p := r.poll()
		r.settled(held, 1)
		p.Answer(text("4"+strings.Repeat("x", 1000)), nil)
		b := make([]byte, 64<<10)
		n, err := c.Read(b)
		if got := string(b[:n]); err != nil || !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(got, "\r\n\r\n4"+strings.Repeat("x", 1000)) {
			t.Errorf("the first read has %q, %v", got, err)
		}
	})
}

func TestLeavingIsNoticedAtOnce(t *testing.T) {
	const rounds = 5
	for _, reset := range []bool{false, true} {
		t.Run(fmt.Sprint("reset ", reset), func(t *testing.T) {
			inEveryWay(t, clear, func(t *testing.T, r *rig) {
				best := patience // of several: a busy machine has pauses of its own
				for range rounds {
					best = min(best, r.leave(reset))
				}
				if best > 100*time.Millisecond {
					t.Errorf("noticed after %v; want 100ms at most", best)
				}
				if r.way.parks() {
					within(t, "leaving the lot", func() bool { return r.desk.Lot.Len() == 0 })
				}
				if n := r.gone.Load(); n != rounds {
					t.Errorf("gone %d times; want %d", n, rounds)
				}
			})
		})
	}
}

// leave is how long it takes until it is known that the client of a poll has left.
func (r *rig) leave(reset bool) time.Duration {
	r.t.Helper()
	c := r.dial()
	c.get("/poll")
	p := r.poll()
	r.settled(held, 1)
	if reset {
		c.Conn.(*net.TCPConn).SetLinger(0)
	}
	begun := time.Now()
	c.Close()
	r.leaves(patience)
	took := time.Since(begun)
	if p.Answer(text("late"), func(bool) { r.t.Error("done was called") }) {
		r.t.Error("it was answered after all")
	}
	return took
}

// A next request that is there before the answer is served after it, whenever it
// came, and so are ten.
func TestPipelinedRequests(t *testing.T) {
	const more = 10
	ask := func(i int) string { return fmt.Sprintf("GET /poll%d HTTP/1.1\r\nHost: a\r\n\r\n", i) }
	all := func(from int) (b string) {
		for i := from; i <= more; i++ {
			b += ask(i)
		}
		return b
	}
	for name, send := range map[string]func(t *testing.T, r *rig, c *raw){
		"in one segment": func(t *testing.T, r *rig, c *raw) { c.send("%s", all(0)) },
		"later": func(t *testing.T, r *rig, c *raw) {
			c.send("%s", ask(0))
			p := r.poll()
			r.settled(held, 1)
			c.send("%s", all(1))
			r.polls <- p
		},
		"cut in the middle": func(t *testing.T, r *rig, c *raw) {
			b := all(0)
			c.send("%s", b[:len(ask(0))+10])
			p := r.poll()
			r.settled(held, 1)
			c.send("%s", b[len(ask(0))+10:])
			r.polls <- p
		},
	} {
		t.Run(name, func(t *testing.T) {
			inEveryWay(t, clear, func(t *testing.T, r *rig) {
				c := r.dial()
				send(t, r, c)
				for i := range more + 1 {
					if !r.poll().Answer(text(fmt.Sprint(i)), nil) {
						t.Fatalf("%d: a client that sent more was given up", i)
					}
					if a := c.answer(); a.body != fmt.Sprint(i) || a.Header.Get("X-Path") != fmt.Sprint("/poll", i) {
						t.Fatalf("answer %d is %q to %s", i, a.body, a.Header.Get("X-Path"))
					}
				}
				c.get("/now")
				if a := c.answer(); a.body != "now" {
					t.Errorf("then %q", a.body)
				}
			})
		})
	}
}

// What a client sent ahead is not watched for, but its leaving is found out.
func TestAClientThatSentMoreAndLeft(t *testing.T) {
	inEveryWay(t, clear, func(t *testing.T, r *rig) {
		c := r.dial()
		c.get("/poll")
		p := r.poll()
		r.settled(held, 1)
		c.get("/now")
		c.Conn.(*net.TCPConn).SetLinger(0)
		c.Close()
		for o := newOnce(); p.Answer(text("x"), o.done); {
			<-o.at // whatever it is: the kernel may have taken it before it knew
		}
		if r.way.parks() {
			within(t, "leaving the lot", func() bool { return r.desk.Lot.Len() == 0 })
		}
	})
}

// Each client is asked again as soon as it was answered; none is told another's, or
// loses what it sent.
func TestPollingAgainAtOnce(t *testing.T) {
	const clients = 4
	inEveryWay(t, clear, func(t *testing.T, r *rig) {
		rounds := 100_000 / clients
		switch {
		case testing.Short():
			rounds /= 20
		case r.way.after >= 0:
			rounds /= 10 // it is parking that is new here
		}
		var all sync.WaitGroup
		for n := range clients {
			c := r.dial()
			c.SetDeadline(time.Time{})
			all.Go(func() {
				for i := range rounds {
					path := fmt.Sprintf("/poll/%d/%d", n, i)
					if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path); err != nil {
						t.Error(err)
						return
					}
					if a := c.answer(); a.Header.Get("X-Path") != path {
						t.Errorf("asked %s, got %s", path, a.Header.Get("X-Path"))
						return
					}
				}
			})
		}
		for range clients * rounds {
			p, o := r.poll(), newOnce()
			if !p.Answer(text("x"), o.done) {
				t.Fatal("a client that waits was given up")
			}
			o.want(t, true)
		}
		all.Wait()
		if n := r.gone.Load(); n != 0 {
			t.Errorf("%d are gone", n)
		}
	})
}

// narrow has the client's socket take little at a time; still less, and the kernel
// sends nothing for 200 ms at a time.
func (c *raw) narrow() { c.Conn.(*net.TCPConn).SetReadBuffer(128 << 10) }

// large is more than the kernel takes for a client that reads nothing.
var large = strings.Repeat("0123456789abcdef", 4<<20/16)

func TestASlowClientGetsAll(t *testing.T) {
	inEveryWay(t, clear, func(t *testing.T, r *rig) {
		t.Parallel()
		r.desk.WriteTimeout = time.Second
		c, o := r.dial(), newOnce()
		c.SetDeadline(time.Now().Add(6 * patience))
		c.narrow()
		c.get("/poll")
		p := r.poll()
		r.settled(held, 1)
		p.Answer(text(large), o.done)
		begun := time.Now()
		// More than the write timeout in all, but never that long at once.
		for range 10 {
			<-time.After(150 * time.Millisecond)
			if _, err := io.CopyN(io.Discard, c.r, 128<<10); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case ok := <-o.at:
			t.Errorf("done(%v) after %v, in which the client took a part", ok, time.Since(begun))
		default:
		}
		n, err := io.CopyN(io.Discard, c.r, int64(len(large))-10*(128<<10))
		if err != nil {
			t.Fatalf("%d bytes more, then %v", n, err)
		}
		o.want(t, true)
	})
}

func TestAClientThatTakesNothingIsCut(t *testing.T) {
	inEveryWay(t, clear, func(t *testing.T, r *rig) {
		t.Parallel()
		r.desk.WriteTimeout = 300 * time.Millisecond
		c, o := r.dial(), newOnce()
		c.narrow()
		c.get("/poll")
		p := r.poll()
		r.settled(held, 1)
		begun := time.Now()
		p.Answer(text(large), o.done)
		o.want(t, false)
		if d := time.Since(begun); d < 300*time.Millisecond || d > 5*time.Second {
			t.Errorf("cut after %v; want 300ms", d)
		}
		if n, err := io.Copy(io.Discard, c); isTimeout(err) || n >= int64(len(large)) {
			t.Errorf("then %d bytes and %v; want the end", n, err)
		}
		if n := r.gone.Load(); n != 0 {
			t.Error("it is gone, though it was answered")
		}
	})
}

func TestWhoWantsNoMoreIsLetGo(t *testing.T) {
	for name, head := range map[string]string{
		"HTTP/1.0":          "GET /poll HTTP/1.0\r\n\r\n",
		"Connection: close": "GET /poll HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
	} {
		inEveryWay(t, clear, func(t *testing.T, r *rig) {
			c := r.dial()
			c.send("%s", head)
			r.poll().Answer(text("bye"), nil)
			if a := c.answer(); a.body != "bye" || !a.Close || a.ContentLength != 3 {
				t.Errorf("%s: got %q, close %v", name, a.body, a.Close)
			}
			c.ended()
			if r.way.parks() && r.desk.Lot.Len() != 0 {
				t.Errorf("%s: it is in the lot", name)
			}
		})
	}
}

// A request with a body may wait too, once that was read.
func TestAPollWithABody(t *testing.T) {
	inEveryWay(t, clear, func(t *testing.T, r *rig) {
		for i, body := range []string{"Content-Length: 2\r\n\r\nab", "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"} {
			c := r.dial()
			for range 3 {
				c.send("POST /both HTTP/1.1\r\nHost: a\r\n%s", body)
				p := r.poll()
				r.settled(held, 1)
				p.Answer(text("both"), nil)
				if a := c.answer(); a.body != "both" || a.Header.Get("X-Read") != "ab" {
					t.Fatalf("%d: got %q, read %q", i, a.body, a.Header.Get("X-Read"))
				}
			}
			c.Close()
			r.settled(idle, 0)
		}
	})
}

// What a body holds that nobody read is no request, however much it looks like one.
func TestABodyThatNobodyRead(t *testing.T) {
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
	inEveryWay(t, clear, func(t *testing.T, r *rig) {
		t.Parallel()
		for _, body := range []string{
			fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(smuggled), smuggled),
			fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(smuggled), smuggled),
		} {
			c := r.dial()
			c.send("GET /unread HTTP/1.1\r\nHost: a\r\n%s", body)
			p := r.poll()
			if r.way.parks() {
				<-time.After(50 * time.Millisecond) // in which it would be parked
			}
			p.Answer(text("x"), nil)
			if a := c.answer(); a.body != "x" {
				t.Errorf("got %q", a.body)
			}
			c.get("/now")
			if a := c.answer(); a.body != "now" {
				t.Errorf("then got %q for %s", a.body, a.Header.Get("X-Path"))
			}
		}
	})
}

// Over HTTP/2 it is the stream that is cut.
func TestAStreamThatTakesNothingIsCut(t *testing.T) {
	inEveryWay(t, func(w way) bool { return w.tls }, func(t *testing.T, r *rig) {
		t.Parallel()
		r.desk.WriteTimeout = 300 * time.Millisecond
		res := make(chan *http.Response, 1)
		go func() {
			got, err := r.Client().Get(r.URL + "/poll")
			if err != nil {
				t.Error(err)
			}
			res <- got
		}()
		p, o := r.poll(), newOnce()
		p.Answer(text(large+large+large), o.done)
		got := <-res
		defer got.Body.Close()
		o.want(t, false)
		if n, err := io.Copy(io.Discard, got.Body); err == nil {
			t.Errorf("then %d bytes and no error", n)
		}
	})
}
