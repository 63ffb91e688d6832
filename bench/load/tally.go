//go:build linux

package load

// Wire is how many bytes the clients have sent and got so far: what TCP carries,
// without its own heads.
func (w *Crowd) Wire() (sent, got int) {
	for _, c := range w.clients {
		sent, got = sent+c.s.sent, got+c.s.got
	}
	return sent, got
}

// Wire is how many bytes the clients have sent and got so far.
func (w *Polls) Wire() (sent, got int) {
	for _, p := range w.clients {
		sent, got = p.down.tally(p.up, sent, got)
	}
	return sent, got
}

// Wire is how many bytes the clients have sent and got so far.
func (w *Calls) Wire() (sent, got int) {
	for _, c := range w.clients {
		sent, got = c.down.tally(c.up, sent, got)
	}
	return sent, got
}

// tally adds what h and other, which may be the same, have sent and got.
func (h *line) tally(other *line, sent, got int) (int, int) {
	sent, got = sent+h.s.sent, got+h.s.got
	if other == h {
		return sent, got
	}
	return sent + other.s.sent, got + other.s.got
}
