package wire

import (
	"bytes"
	"errors"
	"flag"
	"math/rand/v2"
	"testing"
	"time"
)

var seedFlag = flag.Uint64("seed", 0, "of random trials; 0: a new one")

func seed(t *testing.T) uint64 {
	t.Helper()
	s := *seedFlag
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", s)
	return s
}

func TestAppendMessage(t *testing.T) {
	for _, c := range []struct {
		name                string
		length, from, most  int
		pieces, next, bytes int
		whole               bool
	}{
		{"empty", 0, 0, 100, 1, 0, 5, true},
		{"small", 5, 0, 100, 1, 5, 10, true},
		{"no room at all", 5, 0, 0, 0, 0, 0, false},
		{"room for a head only", 5, 0, 7, 0, 0, 0, false},
		{"just room", 5, 0, 12, 1, 5, 10, true},
		{"not worth cutting", 5000, 0, 1030, 0, 0, 0, false},
		{"the least piece", 5000, 0, 1031, 1, 1024, 1030, false},
		{"the largest piece", 65536, 0, MaxBody, 1, 65536, 65543, true},
		{"one more", 65537, 0, MaxBody, 2, 65537, 65543 + 8, true},
		{"as much as a body takes", 1 << 20, 0, MaxBody, 2, 131056, MaxBody, false},
		{"from the middle", 1 << 20, 1<<20 - 3, MaxBody, 1, 1 << 20, 10, true},
	} {
		message := letters(1, 0, uint64(c.length))
		out, next, whole := AppendMessage([]byte("head"), 1, true, message, c.from, c.most)
		frames, err := all(out[4:])
		if err != nil || len(frames) != c.pieces || next != c.next || whole != c.whole || len(out)-4 != c.bytes {
			t.Errorf("%s: %d pieces of %d bytes, next %d, whole %v, error %v; want %d, %d, %d, %v", c.name, len(frames), len(out)-4, next, whole, err, c.pieces, c.bytes, c.next, c.whole)
		}
		if len(out)-4 > c.most {
			t.Errorf("%s: %d bytes; want at most %d", c.name, len(out)-4, c.most)
		}
		at := c.from
		for i, f := range frames {
			d, err := ParseData(f.Body)
			if err != nil || !d.Binary || d.Offset != uint64(at) || d.More != (!whole || i < len(frames)-1) || !bytes.Equal(d.Payload, message[at:at+len(d.Payload)]) {
				t.Errorf("%s: piece %d is not the message's: %v", c.name, i, err)
			}
			at += len(d.Payload)
		}
		if at != next {
			t.Errorf("%s: the pieces end at %d; want %d", c.name, at, next)
		}
	}
}

// A sender that follows the rules gets every message through once, in order and
// unchanged, whatever is lost or comes late or twice, by carriers that come and go.
func TestMessagesThroughLoss(t *testing.T) {
	seed := seed(t)
	for n := range uint64(300) {
		if why := lossy(rand.New(rand.NewPCG(seed, n))); why != "" {
			t.Fatalf("seed %d, trial %d: %s", seed, n, why)
		}
	}
}

func lossy(rng *rand.Rand) (why string) {
	messages := make([][]byte, 1+rng.IntN(6))
	for i := range messages {
		messages[i] = letters(uint64(i+1), 0, uint64(rng.IntN([]int{3, 3000, 200_000}[rng.IntN(3)])))
	}
	a := &Assembly{Limit: 200_000}
	var late [][]byte // bodies that were overtaken
	got := 0
	hear := func(body []byte) string {
		frames, err := all(body)
		if err != nil {
			return err.Error()
		}
		for _, f := range frames {
			d, err := ParseData(f.Body)
			if err != nil {
				return err.Error()
			}
			m, whole, err := a.Add(d)
			if err != nil && !errors.Is(err, ErrGap) {
				return err.Error()
			}
			if whole && (got == len(messages) || !bytes.Equal(m, messages[got])) {
				return "another message than was sent"
			}
			if whole {
				got++
			}
		}
		return ""
	}
	for round := 0; got < len(messages); round++ {
		if round > 5000 {
			return "it does not end"
		}
		body := speak(rng, messages, a.Ack(0))
		switch rng.IntN(5) {
		case 0: // lost
		case 1:
			late = append(late, body)
		case 2: // twice
			if why := hear(body); why != "" {
				return why
			}
			fallthrough
		default:
			if why := hear(body); why != "" {
				return why
			}
		}
		if len(late) > 0 && rng.IntN(3) == 0 {
			if why := hear(late[0]); why != "" {
				return why
			}
			late = late[1:]
		}
	}
	return ""
}

// speak is a body of a sender that knows what was held some time ago.
func speak(rng *rand.Rand, messages [][]byte, held Ack) (body []byte) {
	next, from := held.Next(), int(held.Partial)
	if rng.IntN(3) == 0 {
		from = rng.IntN(from + 1)
	}
	if rng.IntN(5) == 0 && next > 1 {
		next, from = next-1, 0
	}
	for most := 1100 + rng.IntN(MaxBody); next <= uint64(len(messages)); next, from = next+1, 0 {
		var whole bool
		body, _, whole = AppendMessage(body, next, false, messages[next-1], from, most-len(body))
		if !whole {
			break
		}
	}
	return body
}

// Room for a message follows what came.
func TestAssemblyIsBounded(t *testing.T) {
	const limit = 1 << 20
	a := &Assembly{Limit: limit}
	piece := letters(1, 0, MaxPayload)
	var err error
	for at := uint64(0); err == nil; at += MaxPayload {
		_, _, err = a.Add(Data{More: true, Number: 1, Offset: at, Payload: piece})
		if got, most := cap(a.held), int(a.Held())*3/2+2*MaxPayload; got > most {
			t.Fatalf("room for %d bytes where %d came", got, a.Held())
		}
	}
	if !errors.Is(err, ErrLarge) || a.Held() != limit {
		t.Errorf("held %d bytes, then %v; want %d, then too large", a.Held(), err, limit)
	}
}

func TestAssemblyAcknowledges(t *testing.T) {
	a := &Assembly{}
	for n := range uint64(3) {
		a.Add(Data{Number: n + 1, Payload: []byte("m")})
	}
	a.Add(Data{More: true, Number: 4, Payload: letters(4, 0, 2000)})
	for handed, want := range []Ack{{0, 3, 2000}, {1, 2, 2000}, {2, 1, 2000}, {3, 0, 2000}} {
		if got := a.Ack(uint64(handed)); got != want || got.Next() != 4 {
			t.Errorf("%d handed on: acknowledges %+v, awaits %d; want %+v, 4", handed, got, got.Next(), want)
		}
	}
}

// Nothing is written that the other side would not take.
func TestAppendRefuses(t *testing.T) {
	long := letters(1, 0, 5000)
	hello := func(change func(h *Hello)) interface{ Append([]byte) ([]byte, error) } {
		h := &Hello{Version: 1, Attempt: NewAttempt(), Generation: 1, Window: minWindow, Position: Position{Lowest: 1}}
		change(h)
		return h
	}
	welcome := func(change func(w *Welcome)) interface{ Append([]byte) ([]byte, error) } {
		w := &Welcome{Version: 1, Session: "s", Token: "t", Window: minWindow, TTL: 1, Position: Position{Lowest: 1}}
		change(w)
		return w
	}
	for _, ok := range []interface{ Append([]byte) ([]byte, error) }{hello(func(*Hello) {}), welcome(func(*Welcome) {}), &Refused{Status: 403}, &Gone{"gap"}} {
		if _, err := ok.Append(nil); err != nil {
			t.Errorf("%+v: %v", ok, err)
		}
	}
	for name, bad := range map[string]interface{ Append([]byte) ([]byte, error) }{
		"a protocol with a blank": hello(func(h *Hello) { h.Protocols = []string{"a b"} }),
		"a protocol twice":        hello(func(h *Hello) { h.Protocols = []string{"a", "b", "a"} }),
		"protocols too long": hello(func(h *Hello) {
			h.Protocols = []string{string(bytes.Repeat([]byte("p"), 4096)), string(bytes.Repeat([]byte("q"), 4096))}
		}),
		"a session alone": hello(func(h *Hello) { h.Session = "s" }),
		"a bad session":   hello(func(h *Hello) { h.Session, h.Token = "s s", "t" }),
		"no attempt":      hello(func(h *Hello) { h.Attempt = "" }),
		"no lowest":       hello(func(h *Hello) { h.Lowest = 0 }),
		"no token":        welcome(func(w *Welcome) { w.Token = "" }),
		"no ttl":          welcome(func(w *Welcome) { w.TTL = 0 }),
		"a bad status":    &Refused{Status: 101},
		"a long retry":    &Refused{Status: 503, Retry: maxRetry + 1},
		"a long text":     &Refused{Status: 503, Text: string(long)},
		"no reason":       &Gone{},
		"an odd reason":   &Gone{"not here"},
	} {
		if out, err := bad.Append(nil); err == nil || !errors.Is(err, ErrBody) && !errors.Is(err, ErrLong) {
			t.Errorf("%s: wrote %.60x, error %v", name, out, err)
		}
	}
}
