package resume

import (
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
	carrier *carrier
	out     *polling.Stream
	total   int // bytes that were said; the writer's own
}

var (
	_ way            = (*stream)(nil)
	_ polling.Source = (*stream)(nil)
)

func (s *stream) wake()           { s.out.Wake() }
func (s *stream) ready() bool     { return true }
func (s *stream) end(int, string) { s.out.Wake() } // and Next says so

// serveStream serves a stream, which outlives the request where it is parked.
func (h *Handler) serveStream(w http.ResponseWriter, r *http.Request, a *ask, first wire.Frame, rest []byte) {
	out := h.Desk.Stream(w, r, wire.ContentType)
	if out.Write(wire.AppendPad(nil, padding)) != nil {
		return
	}
	s := &stream{out: out, carrier: &carrier{kind: wire.Stream}}
	s.carrier.way = s
	k, last := h.begin(nil, r, a, first, rest, s.carrier)
	if k != nil {
		out.Run(s)
		return
	}
	_ = out.Write(last) // to whom it may concern
	out.Close()
}

// Next has what the carrier says next.
func (s *stream) Next(b []byte) (out []byte, more, ends bool) {
	was := len(b)
	b, more, ends = s.carrier.next(b, was+piece)
	s.total += len(b) - was
	return b, more, ends || s.total >= maxStream
}

// Gone says that the stream is no more.
func (s *stream) Gone() { s.carrier.client.lost(s.carrier) }

// rotate says when k ends, as a stream. The caller holds the client's lock.
func (k *carrier) rotate(now time.Time) {
	if k.kind == wire.Stream && k.client.handler.Settings.Rotate > 0 {
		k.until = now.Add(k.client.handler.Settings.Rotate)
	}
}
