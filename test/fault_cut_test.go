package test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"sidecar/test/faultlink"
	"sidecar/test/history"
)

const cutSize = 60 // of a message; its frame is 66 bytes from a client, 62 from a backend

// A connection that is cut after every number of bytes of a short exchange: no
// part of a message passes for a whole one, nobody is left hanging, and every
// loss is told. The count begins behind the handshake.
func TestFaultCutAfterEveryByte(t *testing.T) {
	t.Parallel()
	for _, s := range sides {
		for d, name := range map[faultlink.Dir]string{faultlink.Up: "up", faultlink.Down: "down"} {
			for how, end := range map[faultlink.Ending]string{faultlink.Reset: "RST", faultlink.FIN: "FIN"} {
				t.Run(fmt.Sprintf("%s %s %s", s.name, name, end), func(t *testing.T) {
					t.Parallel()
					r := newRig(t, "")
					for n := range cutSize + 26 {
						s.link(r).Set(faultlink.Both, faultlink.Fault{})
						k, err := r.try(fmt.Sprint("n", n), 1)
						if err != nil {
							t.Fatalf("N = %d: opening: %v", n, err)
						}
						s.link(r).Set(d, faultlink.Fault{Cut: how, After: int64(n)})
						k.play(t, n)
					}
					r.wantHonest(t)
				})
			}
		}
	}
}

// play sends one message each way, lets the client close once it has its own,
// and wants both ends to be over soon.
func (k *talk) play(t *testing.T, n int) {
	t.Helper()
	k.client.send(1, cutSize)
	k.backend.send(1, cutSize)
	select {
	case <-k.client.full:
		within(t, patience, "the backend's message or end", either(k.backend.full, k.backend.ended))
		k.client.leave()
	case <-k.client.ended:
	}
	for _, p := range []*peer{k.client, k.backend} {
		within(t, patience, fmt.Sprintf("N = %d: the end of %v", n, p.sends), p.ended)
	}
	k.told()
	k.close()
}

func (k *talk) close() {
	k.client.Close()
	k.backend.Close()
	<-k.client.ended
	<-k.backend.ended
}

// either is closed when a or b is.
func either(a, b <-chan struct{}) <-chan struct{} {
	c := make(chan struct{})
	go func() {
		defer close(c)
		select {
		case <-a:
		case <-b:
		}
	}()
	return c
}

// The same within the handshake: the client gets an answer or an end, never
// silence, and the sidecar keeps nothing.
func TestFaultCutInTheHandshake(t *testing.T) {
	t.Parallel()
	for _, s := range sides {
		for d, name := range map[faultlink.Dir]string{faultlink.Up: "up", faultlink.Down: "down"} {
			t.Run(s.name+" "+name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, "limits: {dial_timeout: 2s}")
				length := r.handshake(t, s, d)
				for n := range length {
					s.link(r).Set(d, faultlink.Fault{Cut: faultlink.Reset, After: int64(n)})
					start := time.Now()
					k, err := r.try(fmt.Sprintf("n%03d", n), 0)
					if err == nil {
						k.close()
						t.Errorf("N = %d of %d: the handshake succeeded", n, length)
					}
					if took := time.Since(start); took > time.Second {
						t.Errorf("N = %d: took %v (%v)", n, took, err)
					}
				}
				s.link(r).Set(d, faultlink.Fault{})
				k := r.open(t, "after", 1)
				k.exchange(t, 1, 100)
				k.finish(t)
				r.wantClean(t)
			})
		}
	}
}

// handshake is how many bytes one takes.
func (r *rig) handshake(t *testing.T, s side, d faultlink.Dir) int {
	before := s.link(r).Forwarded(d)
	r.open(t, "n000", 0) // as long an id as those to come
	return int(s.link(r).Forwarded(d) - before)
}

// Many sessions at once, each echoing what is its own, while connections break
// at random: nobody ever gets a byte of another's.
func TestNoSessionSeesAnothersBytes(t *testing.T) {
	t.Parallel()
	const sessions, atOnce = 1000, 50
	seed, rng := random(t)
	r := newRig(t, "")
	echoes := new(history.History) // what the backend sends back, as the client's own
	places := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i := range sessions {
		plan := plan{messages: 1 + rng.IntN(30), size: 40 + rng.IntN(3000), breaks: rng.IntN(4), after: rng.IntN(20)}
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			if err := r.echo(echoes, fmt.Sprintf("s%d", i), plan); err != nil {
				t.Errorf("seed %d, session %d: %v", seed, i, err)
			}
		})
		if rng.IntN(100) == 0 {
			r.front.End(faultlink.Both, faultlink.Reset)
		}
		if rng.IntN(100) == 0 {
			r.back.End(faultlink.Both, faultlink.Reset)
		}
	}
	wg.Wait()
	r.h = echoes
	if got := r.wantHonest(t); got.Sent < sessions {
		t.Errorf("only %d messages were sent", got.Sent)
	}
}

// A plan is what one echoing session does: by breaks, the client (1) or the
// backend (2) resets its socket after so many messages.
type plan struct{ messages, size, breaks, after int }

// echo plays one session. Where the links broke it, there is nothing to say.
func (r *rig) echo(h *history.History, id string, p plan) error {
	c, b, err := r.connect(id)
	if err != nil {
		return nil // cut while it opened
	}
	client := newPeer(h, c, id, history.Up, history.Up, p.messages)
	go client.read()
	echoed := make(chan error, 1)
	go func() { echoed <- echoTo(b, id, p) }()
	for i := range p.messages {
		if p.breaks == 1 && i == p.after {
			reset(c)
		}
		if client.send(1, p.size) != nil {
			break
		}
	}
	select {
	case <-client.full:
		client.leave()
		<-client.ended
	case <-client.ended:
	}
	if client.code() != 1000 {
		h.Told(id, fmt.Sprint(client.err))
	}
	c.Close()
	return <-echoed
}
