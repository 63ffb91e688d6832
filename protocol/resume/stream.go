package resume

import (
	"context"
	"net/http"
	"time"

	"sidecar/polling"
	"sidecar/protocol/resume/wire"
)

const (
	// padding is how long the first PAD of a stream is (§3.3).
	padding = 2 << 10
	// maxStream is how much a stream carries.
	maxStream = 4 << 20
)

// A stream is the way of an endless answer (§3.3).
type stream struct {
	woken chan struct{} // has one if there may be something to say
	ctx   context.Context
	stop  context.CancelFunc
}

var _ way = (*stream)(nil)

func (s *stream) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

func (s *stream) ready() bool     { return true }
func (s *stream) end(int, string) { s.stop() }

// serveStream serves a stream, for as long as it lasts.
func (h *Handler) serveStream(w http.ResponseWriter, r *http.Request, a *ask, first wire.Frame, rest []byte) {
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	out := h.Desk.Stream(w, wire.ContentType)
	defer out.Close()
	if out.Write(wire.AppendPad(nil, padding)) != nil {
		return
	}
	s := &stream{woken: make(chan struct{}, 1), ctx: ctx, stop: stop}
	k := &carrier{kind: wire.Stream, way: s}
	k, last := h.begin(nil, r, a, first, rest, k)
	switch {
	case last != nil:
		_ = out.Write(last) // to whom it may concern
	case k != nil:
		s.run(k, out)
		k.client.lost(k)
	}
}

// run writes what k has to say, until it ends.
func (s *stream) run(k *carrier, out *polling.Stream) {
	for total := 0; ; {
		n, ends, err := s.write(k, out)
		if ends || err != nil {
			return
		}
		if total += n; total >= maxStream {
			k.age()
		}
		if n > 0 {
			continue
		}
		select {
		case <-s.woken:
		case <-s.ctx.Done():
			return
		}
	}
}

// write writes once; memory is lent for it only.
func (s *stream) write(k *carrier, out *polling.Stream) (n int, ends bool, err error) {
	space := spaces.Get().(*[]byte)
	defer spaces.Put(space)
	b, _, ends := k.next((*space)[:0], piece)
	if len(b) > 0 {
		err = out.Write(b)
	}
	return len(b), ends, err
}

// age has k end behind what is said next.
func (k *carrier) age() {
	k.client.mu.Lock()
	k.aged = true
	k.client.mu.Unlock()
	k.way.wake()
}

// rotate says when k ends, as a stream. The caller holds the client's lock.
func (k *carrier) rotate(now time.Time) {
	if k.kind == wire.Stream && k.client.handler.Settings.Rotate > 0 {
		k.until = now.Add(k.client.handler.Settings.Rotate)
	}
}
