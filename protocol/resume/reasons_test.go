package resume

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sidecar/protocol/resume/wire"
	"sidecar/session"
)

// An ending is what a GONE comes by.
type ending struct {
	reason string
	come   func(b *bubble)
	hello  func(*wire.Hello) // what the HELLO behind it has of its own
}

var endings = []ending{
	{"unknown", func(b *bubble) { b.token = strings.Repeat("A", len(b.token)) }, nil},
	{"gap", nil, func(h *wire.Hello) { h.Lowest = 2 }},
	{"violation", nil, func(h *wire.Hello) { h.Received = 1 }},
	{"expired", func(b *bubble) { b.at(b.h.Session.TTL) }, nil},
	{"closed", func(b *bubble) {
		l := b.attach()
		b.c.session.DeliverClose(session.Close{Code: 4000})
		l.want(`CLOSE 1 4000 ""`)
		l.send(ack(1))
		l.wantEnd(codeNormal)
		l.ws.Close()
	}, nil},
	{"left", func(b *bubble) {
		b.ask(wire.Send, append(b.next(1), wire.Close{Number: 1, Code: codeGoingAway}.Append(nil)...))
		b.at(b.age() + byeTime)
	}, nil},
	{"overflow", func(b *bubble) {
		b.c.session.Deliver(session.Message{Data: make([]byte, b.h.Session.Window)})
		b.c.session.Deliver(session.Message{Data: []byte("one more")})
	}, nil},
	{"evicted", func(b *bubble) {
		b.all.Hold(1) // by others
		b.all.Set(session.Memory{Limit: 1, Evict: true})
		_, _ = b.all.Open(session.Opening{}) // for want of room
	}, nil},
	{"drain", func(b *bubble) {
		b.h.enlist(b.c)
		over, cancel := context.WithCancel(context.Background())
		cancel()
		b.h.lobby().Drain(over, 0)
	}, nil},
}

// §9.2: each reason of the specification comes of what it says there, by each carrier
// and by a send, and the server has no other.
func TestGoneReasons(t *testing.T) {
	var produced []string
	for _, x := range endings {
		produced = append(produced, x.reason)
		for _, kind := range []wire.Kind{wire.WebSocket, wire.Stream, wire.Poll, wire.Send} {
			if kind == wire.Send && x.hello != nil {
				continue // it has none
			}
			t.Run(fmt.Sprintf("%s by %s", x.reason, kind), func(t *testing.T) {
				inBubble(t, func(t *testing.T, b *bubble) {
					if x.come != nil {
						x.come(b)
					}
					if got, want := show(b.goneBy(kind, x.hello)), fmt.Sprintf("GONE %q", `{"reason":"`+x.reason+`"}`); got != want {
						t.Errorf("got %s; want %s", got, want)
					}
					if x.reason != "unknown" && b.all.Len() != 0 {
						t.Error("the session lives")
					}
				}, func(h *Handler) {
					s := *h.Session
					s.Overflow = "close"
					h.Session = &s
				})
			})
		}
	}
	slices.Sort(produced)
	if want := sorted(append([]string{"unknown"}, session.Reasons...)); !slices.Equal(produced, want) {
		t.Errorf("a server can say %q; what produces them is known of %q", want, produced)
	}
	if want := specified(t); !slices.Equal(produced, want) {
		t.Errorf("docs/protocol.md has the reasons %q; a server says %q", want, produced)
	}
}

// goneBy comes back and returns the first frame of the answer.
func (b *bubble) goneBy(kind wire.Kind, change func(*wire.Hello)) wire.Frame {
	if kind == wire.Send {
		return b.ask(kind, b.next(1))[0]
	}
	if change == nil {
		change = func(*wire.Hello) {}
	}
	body := b.hello(change)
	switch kind {
	case wire.WebSocket:
		l := b.connect()
		l.send(body)
		f := l.frame()
		l.wantEnd(codeNormal)
		l.ws.Close()
		return f
	case wire.Stream:
		return b.stream(body).frame()
	}
	return b.ask(kind, body)[0]
}

// specified are the reasons of the specification's table, sorted.
func specified(t *testing.T) (all []string) {
	t.Helper()
	b, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), "### 9.2 GONE")
	section, _, _ = strings.Cut(section, "### 9.3")
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z _]+)` \\|").FindAllStringSubmatch(section, -1) {
		all = append(all, m[1])
	}
	return sorted(all)
}

func sorted(all []string) []string {
	slices.Sort(all)
	return all
}
