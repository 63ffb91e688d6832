package resume

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sidecar/protocol/resume/wire"
)

// §6.3: USE goes back and forth under traffic, in the middle of large messages too, and
// each message comes once, whole and in order by whatever carrier.
func TestUseBackAndForth(t *testing.T) {
	const count = 400
	inEveryWay(t, func(t *testing.T, r *rig) {
		c := r.raw()
		lines := []*line{c.websocket(), c.websocket(func(h *wire.Hello) { h.Use = 0 }), c.stream(c.hello(func(h *wire.Hello) { h.Use = 0 }))}
		c.welcomed(lines[2].frame())
		b := r.back.next()
		message := func(n uint64) string { return fmt.Sprint(n) + strings.Repeat("x", int(n%7)*20_000) }
		go func() {
			for n := uint64(1); n <= count; n++ {
				b.say(message(n))
			}
		}()
		in := &gathered{t: t, want: message, acks: make(chan wire.Ack, 100_000)}
		for _, l := range lines {
			go in.read(l)
		}
		late := time.After(patience)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for turn := uint64(2); ; {
			select {
			case a := <-in.acks:
				lines[0].send(a.Append(nil))
				if a.Received == count {
					return
				}
			case <-tick.C:
				turn++
				lines[0].send(wire.Use{Turn: turn, Generation: 1 + turn%3}.Append(nil))
			case <-late:
				t.Fatalf("not over after %v", patience)
			}
		}
	})
}

// A gathered is what comes by several carriers.
type gathered struct {
	t    *testing.T
	want func(uint64) string
	acks chan wire.Ack
	mu   sync.Mutex
	in   wire.Assembly
}

func (g *gathered) read(l *line) {
	for {
		f, err := l.read()
		if err != nil {
			return
		}
		if f.Type == wire.TypeData {
			g.data(f)
		}
	}
}

func (g *gathered) data(f wire.Frame) {
	g.mu.Lock()
	defer g.mu.Unlock()
	d, err := wire.ParseData(f.Body)
	if err != nil {
		g.t.Error(err)
		return
	}
	m, whole, err := g.in.Add(d)
	if err != nil {
		g.t.Errorf("%s: %v", show(f), err)
		return
	}
	if !whole {
		return
	}
	if string(m) != g.want(d.Number) {
		g.t.Errorf("message %d has %d bytes, %.20q", d.Number, len(m), m)
	}
	g.acks <- g.in.Ack(d.Number)
}
