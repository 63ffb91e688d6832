package proxy

import (
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Many clients at once, each of whom and of whose backends does something else,
// and may leave at any moment: nothing is left, and nobody gets another's bytes.
func TestCrowdOfHandshakes(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var turn atomic.Int64
	d, rec := doorTo(t, func(v *visit) {
		_, own, _ := strings.Cut(v.head, "X-Own: ")
		own, _, _ = strings.Cut(own, "\r\n")
		switch turn.Add(1) % 6 {
		case 0:
			v.Close()
		case 1:
			v.say("HTTP/1.1 403 No\r\nX-Own: " + own + "\r\nContent-Length: 10\r\n\r\nhalf")
			v.Close()
		case 2:
			v.say("HTTP/1.1 503 Busy\r\nX-Own: " + own + "\r\nContent-Length: 0\r\n\r\n")
		case 3: // says nothing
		default:
			v.say(handshakeAnswer("X-Own: "+own+"\r\n") + string(rawFrame(0x80|opText, own, false)))
		}
	})
	d.raw.Limits = Limits{DialTimeout: 200 * time.Millisecond, WriteTimeout: 200 * time.Millisecond}
	before := runtime.NumGoroutine()
	var all sync.WaitGroup
	for i := range uint64(16) {
		all.Add(1)
		go func() {
			defer all.Done()
			r := rand.New(rand.NewPCG(seed, i))
			for range 25 {
				crowdMember(t, d, r)
			}
		}()
	}
	all.Wait()
	eventually(t, "the slots to be released", func() bool { return d.limiter.Len() == 0 && d.raw.Live.Len() == 0 })
	eventually(t, "the backend's connections to end", func() bool { return closed(rec) })
	eventually(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
	for _, event := range []string{"dialed ok", "dialed refused", "dialed error", "dialed timeout", "opened"} {
		if !d.seen.has(event) {
			t.Errorf("nobody saw %q; want every outcome", event)
		}
	}
}

// crowdMember opens one connection and looks at what comes, unless it leaves.
func crowdMember(t *testing.T, d *door, r *rand.Rand) {
	own := string(rune('a'+r.IntN(26))) + strings.Repeat("x", r.IntN(200))
	p := dialPeer(t, d.addr)
	defer p.conn.Close()
	request := handshakeRequest("X-Own: " + own + "\r\n")
	if r.IntN(8) == 0 {
		request = request[:r.IntN(len(request))]
	}
	io.WriteString(p.conn, request)
	if r.IntN(3) == 0 {
		<-time.After(time.Duration(r.IntN(3000)) * time.Microsecond)
		p.conn.SetLinger(r.IntN(2) - 1)
		return
	}
	if len(request) < 100 || !strings.HasSuffix(request, "\r\n\r\n") {
		return
	}
	res, err := http.ReadResponse(p.r, nil)
	if err != nil {
		return // aborted, as a refusal cut short must be
	}
	if got := res.Header.Get("X-Own"); got != "" && got != own {
		t.Errorf("answer is for %q; want %q", got, own)
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		if g, err := p.next(); err == nil && g.payload != own {
			t.Errorf("frame is for %q; want %q", g.payload, own)
		}
	}
}
