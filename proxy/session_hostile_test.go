package proxy

import (
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"sidecar/session"
)

// A hostile peer, whichever end it is, hears the code that its breach earns.
var breaches = []struct {
	name string
	send func(p *peer) []byte
	code int
}{
	{"ping flood", func(p *peer) []byte {
		return slices.Repeat(p.frame(0x80|opPing, "x"), 2*floodBurst)
	}, codePolicy},
	{"empty fragments", func(p *peer) []byte {
		return append(p.frame(opText, "x"), slices.Repeat(p.frame(opContinuation, ""), 2*floodBurst)...)
	}, codePolicy},
	{"one-byte fragments", func(p *peer) []byte {
		return append(p.frame(opText, "x"), slices.Repeat(p.frame(opContinuation, "x"), freeFragments+200)...)
	}, codePolicy},
	{"bad UTF-8", func(p *peer) []byte { return p.frame(0x80|opText, "\xff") }, codeInvalid},
	{"UTF-8 split over the message's end", func(p *peer) []byte { return p.frame(0x80|opText, "\xc3") }, codeInvalid},
	{"compressed", func(p *peer) []byte { return p.frame(0xc0|opText, "\xaa\x00") }, codeProtocol},
	{"too big", func(p *peer) []byte { return p.frame(0x80|opBinary, strings.Repeat("x", 9000)) }, codeTooBig},
	{"too big in fragments", func(p *peer) []byte {
		return append(p.frame(opBinary, strings.Repeat("x", 5000)), p.frame(0x80, strings.Repeat("x", 5000))...)
	}, codeTooBig},
	{"huge", func(p *peer) []byte {
		f := p.frame(0x80|opBinary, strings.Repeat("x", 1<<16))
		return append(append(f[:2:2], 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), f[10:]...)
	}, codeTooBig},
	{"close 1005", func(p *peer) []byte { return p.frame(0x80|opClose, "\x03\xed") }, codeProtocol},
	{"close 1006", func(p *peer) []byte { return p.frame(0x80|opClose, "\x03\xee") }, codeProtocol},
	{"close 999", func(p *peer) []byte { return p.frame(0x80|opClose, "\x03\xe7") }, codeProtocol},
	{"close of one byte", func(p *peer) []byte { return p.frame(0x80|opClose, "\x03") }, codeProtocol},
	{"close for no UTF-8 reason", func(p *peer) []byte { return p.frame(0x80|opClose, "\x03\xe8\xff") }, codeInvalid},
	{"masked wrongly", func(p *peer) []byte { return rawFrame(0x80|opText, "x", !p.masked) }, codeProtocol},
	{"continuation of nothing", func(p *peer) []byte { return p.frame(0x80, "x") }, codeProtocol},
}

func shortMessages(h *hall) { h.dialer.Limits.Message, h.carriers.Limits.Message = 8192, 8192 }

func TestHostileClient(t *testing.T) {
	for _, b := range breaches {
		t.Run(b.name, func(t *testing.T) {
			h, front, back := open(t, "/", shortMessages)
			front.send(front.frame(0x80|opText, "before"))
			front.conn.Write(b.send(front))
			back.want(0x80|opText, "before")
			front.wantClose(b.code)
			h.wantGone(b.code)
			back.wantClose(b.code)
		})
	}
}

func TestHostileBackend(t *testing.T) {
	for _, b := range breaches {
		t.Run(b.name, func(t *testing.T) {
			h, front, back := open(t, "/", shortMessages)
			back.send(back.frame(0x80|opText, "before"))
			back.conn.Write(b.send(back))
			front.want(0x80|opText, "before")
			back.wantClose(b.code)
			front.wantClose(codeInternal)
			front.send(front.frame(0x80|opClose, "\x03\xf3"))
			h.wantGone(codeInternal)
		})
	}
}

// What a client hears of its backend's end, and a backend of its client's.
func TestCloseCodes(t *testing.T) {
	for payload, code := range map[string]int{
		"": codeNoStatus, "\x03\xe8": 1000, "\x03\xe9bye": 1001, "\x03\xf6": 1014, "\x0b\xb8": 3000, "\x13\x87": 4999,
	} {
		h, front, back := open(t, "/", nil)
		back.send(back.frame(0x80|opClose, payload))
		front.wantClose(code)
		back.wantClose(code)
		front.send(front.frame(0x80|opClose, payload))
		h.wantGone(code)

		h, front, back = open(t, "/", nil)
		front.send(front.frame(0x80|opClose, payload))
		back.wantClose(code)
		front.wantClose(code)
		h.wantGone(code)
	}
}

func TestBackendThatIsGone(t *testing.T) {
	for name, end := range map[string]func(*peer){
		"RST":                   (*peer).reset,
		"FIN":                   func(p *peer) { p.conn.Close() },
		"FIN in half a frame":   func(p *peer) { p.send([]byte{0x81, 5, 'h'}); p.conn.Close() },
		"FIN in half a message": func(p *peer) { p.send(p.frame(opText, "h")); p.conn.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			_, front, back := open(t, "/", nil)
			end(back)
			front.wantClose(codeRestarting)
		})
	}
}

func TestClientThatIsGone(t *testing.T) {
	for name, end := range map[string]func(*peer){
		"RST": (*peer).reset,
		"FIN": func(p *peer) { p.conn.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			h, front, back := open(t, "/", func(h *hall) { h.settings.TTL = 50 * time.Millisecond })
			end(front)
			h.wantGone(codeAbnormal)
			back.wantClose(codeGoingAway)
		})
	}
}

func TestSilentPeersAreLost(t *testing.T) {
	h, front, back := open(t, "/", beating(100*time.Millisecond, 100*time.Millisecond))
	back.want(0x80|opPing, pingMark)
	front.want(0x80|opPing, pingMark)
	back.wantClose(codeGoingAway)
	front.wantClose(codeGoingAway)
	h.wantGone(codeAbnormal)
}

func TestPongsKeepAConnection(t *testing.T) {
	h, front, back := open(t, "/", beating(60*time.Millisecond, 2*time.Second))
	for range 3 {
		for _, p := range []*peer{front, back} {
			p.want(0x80|opPing, pingMark)
			p.send(p.frame(0x80|opPong, pingMark))
		}
	}
	front.send(front.frame(0x80|opPing, "mine"))
	front.wantPong("mine")
	if !h.seen.has("answered client") || !h.seen.has("answered backend") {
		t.Errorf("seen %q; want both hops answered", h.seen.events)
	}
}

// wantPong reads on to a pong with the payload.
func (p *peer) wantPong(payload string) {
	p.t.Helper()
	for {
		g, err := p.next()
		if err != nil {
			p.t.Fatalf("reading: %v; want a pong", err)
		}
		if g.first == 0x80|opPong {
			if g.payload != payload {
				p.t.Errorf("pong %q; want %q", g.payload, payload)
			}
			return
		}
	}
}

// Half a frame is no silence, but has its time too.
func TestHalfFrameIsGivenUp(t *testing.T) {
	h, front, back := open(t, "/", func(h *hall) {
		h.carriers.Limits.WriteTimeout, h.dialer.Limits.WriteTimeout = 100*time.Millisecond, 100*time.Millisecond
	})
	back.send([]byte{0x81, 5, 'h'})
	front.send([]byte{0x81, 0x85, 1, 2})
	back.wantClose(codePolicy)
	front.wantClose(codePolicy)
	h.wantGone(codeAbnormal)
}

// A client that does not read stops the backend, and memory stays within the
// window; once it reads, all comes, in order.
func TestSlowClientStopsTheBackend(t *testing.T) {
	h, front, back := open(t, "/", func(h *hall) { h.settings.Window = 64 << 10 })
	stopsAndGoesOn(t, h, back, front)
}

func TestSlowBackendStopsTheClient(t *testing.T) {
	h, front, back := open(t, "/", nil)
	stopsAndGoesOn(t, h, front, back)
}

func stopsAndGoesOn(t *testing.T, h *hall, from, to *peer) {
	const size, most = 16 << 10, 4096
	payload := strings.Repeat("x", size)
	from.conn.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	n := 0
	var rest []byte
	for ; n < most; n++ {
		f := from.frame(0x80|opBinary, payload)
		if k, err := from.conn.Write(f); err != nil {
			rest = f[k:]
			break
		}
	}
	if n == most {
		t.Fatalf("%d MiB were taken for an end that does not read", most*size>>20)
	}
	if held := h.all.Held(); held > 64<<10+2*(size+64)+1024 {
		t.Errorf("the session holds %d bytes; want the window and a message", held)
	}
	from.conn.SetWriteDeadline(time.Now().Add(20 * time.Second))
	done := make(chan struct{})
	go func() { defer close(done); from.send(rest) }()
	for i := range n + 1 {
		if got := to.message(); got != payload {
			t.Fatalf("message %d is wrong", i)
		}
	}
	<-done
}

// An end that takes nothing is given up after write_timeout.
func TestStalledBackendIsGivenUp(t *testing.T) {
	_, front, _ := open(t, "/", func(h *hall) { h.dialer.Limits.WriteTimeout = 200 * time.Millisecond })
	payload := strings.Repeat("x", 1<<20)
	go func() {
		for range 64 {
			if _, err := front.conn.Write(front.frame(0x80|opBinary, payload)); err != nil {
				return
			}
		}
	}()
	front.wantClose(codeInternal)
}

// Two hundred sessions at once, each with its own tag, end with nothing left over.
func TestSessionsDoNotMix(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("all", func(t *testing.T) {
		h := newHall(t, echoBackend(t), nil)
		for i := range 200 {
			tag := strings.Repeat(string(rune('a'+i%26)), 1+i%100)
			front := h.client("/")
			t.Run(tag, func(t *testing.T) {
				t.Parallel()
				for range 20 {
					front.send(front.frame(0x80|opText, tag))
					front.want(0x80|opText, tag)
				}
				front.send(front.frame(0x80|opClose, "\x03\xe8"))
				front.wantClose(1000)
			})
		}
	})
	for end := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > before+2; {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines were left of %d", runtime.NumGoroutine(), before)
		}
		runtime.Gosched()
	}
}

func TestCloseWithoutAnAnswerIsCut(t *testing.T) {
	h, _, back := open(t, "/", nil)
	s := <-h.opened
	start := time.Now()
	s.End(session.Left, session.Close{Code: 4000, Reason: "left"})
	back.wantClose(4000)
	back.wantEnd()
	if took := time.Since(start); took < closeGrace-50*time.Millisecond || took > 3*closeGrace {
		t.Errorf("cut after %v; want about %v", took, closeGrace)
	}
}
