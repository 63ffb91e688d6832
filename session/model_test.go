package session

import (
	"cmp"
	"slices"
	"time"
)

// A model is what a session must be like, said as naively as can be: it keeps all
// that ever was, and counts anew whatever it is asked for.
type model struct {
	world    *world
	set      *Settings
	passed   []string // what the backend has
	received uint64
	closing  bool
	fails    bool // the backend's Write, from now on

	delivered []Message
	end       *Close // behind them
	acked     uint64 // the close included
	sent      uint64
	seat      *seat
	paused    bool

	opened, left, heard time.Time
	away                bool
	reason              Reason
	seen                account
}

// An account is what others were told, in order or counted.
type account struct {
	closes                []Close
	rooms, pauses, passes int
	opened, skips         int
	absences              []time.Duration
	ended                 []Reason
	ages                  []time.Duration
}

func (a *account) equal(b *account) bool {
	return a.rooms == b.rooms && a.pauses == b.pauses && a.passes == b.passes && a.opened == b.opened && a.skips == b.skips &&
		slices.Equal(a.closes, b.closes) && slices.Equal(a.absences, b.absences) && slices.Equal(a.ended, b.ended) && slices.Equal(a.ages, b.ages)
}

// A seat is one carrier's place.
type seat struct {
	reader     puller
	last       uint64
	woken      bool
	wakes, got int // expected, and counted
}

// base is how many messages the client has acknowledged.
func (m *model) base() uint64 {
	return min(m.acked, uint64(len(m.delivered)))
}

// held is the messages that the client has not acknowledged.
func (m *model) held() (size int64) {
	for _, d := range m.delivered[m.base():] {
		size += int64(len(d.Data)) + 64
	}
	return size
}

// total is what all sessions take.
func (w *world) total() (size int64) {
	for _, p := range w.pairs {
		if p.m.reason == 0 {
			size += 1024 + p.m.held()
		}
	}
	return size
}

func (w *world) full() bool { return w.all.Memory > 0 && w.total() >= w.all.Memory }

func (m *model) hasRoom() bool {
	return m.held() == 0 || !m.world.full() && (m.held() < m.set.Window || m.set.Overflow == "close")
}

func (m *model) rouse() {
	if m.seat != nil && !m.seat.woken {
		m.seat.woken = true
		m.seat.wakes++
	}
}

func (m *model) finish(why Reason, c Close) {
	if m.reason != 0 {
		return
	}
	m.rouse()
	if m.paused {
		m.seen.rooms++
	}
	if m.end == nil {
		m.seen.closes = append(m.seen.closes, c)
	}
	m.reason, m.paused, m.seat, m.away = why, false, nil, false
	m.seen.ended = append(m.seen.ended, why)
	m.seen.ages = append(m.seen.ages, time.Since(m.opened))
}

func (m *model) deliver(d Message) (room bool) {
	if m.reason != 0 || m.end != nil {
		return !m.paused
	}
	m.seen.passes++
	if m.set.Overflow == "close" && m.held() >= m.set.Window {
		m.finish(Overflowed, Close{1013, "the client is too slow"})
		return true
	}
	m.delivered = append(m.delivered, d)
	m.rouse()
	if !m.paused && !m.hasRoom() {
		m.paused = true
		m.seen.pauses++
	}
	return !m.paused
}

func (m *model) deliverClose(c Close) {
	if m.reason != 0 || m.end != nil {
		return
	}
	m.end = &c
	if !m.away {
		m.heard = time.Now()
	}
	m.rouse()
}

func (m *model) heardOf() {
	if m.away || m.end != nil {
		m.heard = time.Now()
	}
}

func (m *model) ack(last uint64) error {
	if m.reason != 0 {
		return ErrEnded
	}
	m.heardOf()
	if last > m.sent {
		return ErrNotSent
	}
	m.acked = max(m.acked, last)
	if m.acked > uint64(len(m.delivered)) {
		m.finish(Closed, Close{})
		return nil
	}
	if m.paused && m.hasRoom() {
		m.paused = false
		m.seen.rooms++
	}
	return nil
}

func (m *model) attach(s *seat) error {
	switch {
	case m.reason != 0:
		return ErrEnded
	case m.seat != nil:
		return ErrBusy
	}
	m.sit(s)
	return nil
}

func (m *model) resume(last uint64, s *seat) error {
	if m.reason == 0 && last < m.acked {
		return ErrForgotten
	}
	if err := m.ack(last); err != nil {
		return err
	}
	if m.reason != 0 {
		return ErrEnded
	}
	m.rouse()
	m.sit(s)
	return nil
}

func (m *model) sit(s *seat) {
	absence := time.Duration(0)
	if m.away {
		absence = time.Since(m.left)
	}
	m.seen.absences = append(m.seen.absences, absence)
	m.away, m.seat, s.last = false, s, m.acked
	m.heardOf()
}

func (m *model) leave(s *seat) {
	if m.seat == s {
		m.seat, m.away, m.left = nil, true, time.Now()
		m.heard = m.left
		m.world.order = append(slices.DeleteFunc(m.world.order, func(o *model) bool { return o == m }), m)
	}
}

func (m *model) take(s *seat, most int64) (b Batch, err error) {
	switch {
	case m.reason != 0:
		return Batch{}, ErrEnded
	case m.seat != s:
		return Batch{}, ErrReplaced
	}
	s.woken = false
	s.last = max(s.last, m.acked)
	b.First = s.last + 1
	size := int64(0)
	for int(s.last) < len(m.delivered) {
		d := m.delivered[s.last]
		size += int64(len(d.Data)) + 64
		if len(b.Messages) > 0 && size > most {
			break
		}
		b.Messages = append(b.Messages, d)
		s.last++
	}
	if m.end != nil && int(s.last) == len(m.delivered) {
		b.Close = m.end
		s.last++
	}
	m.sent = max(m.sent, s.last)
	return b, nil
}

func (m *model) send(first uint64, all []Message) error {
	if m.reason != 0 {
		return ErrEnded
	}
	m.heardOf()
	if first == 0 {
		first = m.received + 1
	}
	if first > m.received+1 {
		return ErrGap
	}
	for i, d := range all {
		switch {
		case first+uint64(i) <= m.received:
			m.seen.skips++
			continue
		case m.closing || m.end != nil:
			return ErrClosing
		case m.fails:
			m.closing = true
			return ErrClosing
		}
		m.passed = append(m.passed, string(d.Data))
		m.received++
		m.seen.passes++
	}
	return nil
}

func (m *model) sendClose(number uint64, c Close) error {
	if m.reason != 0 {
		return ErrEnded
	}
	m.heardOf()
	switch {
	case number > m.received+1:
		return ErrGap
	case number != 0 && number <= m.received:
		return nil
	case m.closing || m.end != nil:
		return ErrClosing
	}
	m.closing = true
	m.received++
	m.seen.closes = append(m.seen.closes, c)
	return nil
}

// open makes room for one more session, if it may.
func (w *world) open() error {
	for w.full() {
		away := slices.DeleteFunc(slices.Clone(w.order), func(m *model) bool { return !m.away })
		if !w.all.EvictAway || len(away) == 0 {
			return ErrFull
		}
		away[0].finish(Evicted, Close{1013, "too many sessions are away"})
	}
	return nil
}

// expire ends the sessions whose time is up.
func (w *world) expire() {
	ripe := slices.DeleteFunc(slices.Clone(w.pairs), func(p *pair) bool {
		return p.m.reason != 0 || !p.m.away && p.m.end == nil || time.Since(p.m.heard) < p.m.set.TTL
	})
	slices.SortFunc(ripe, func(a, b *pair) int { return cmp.Compare(a.m.heard.UnixNano(), b.m.heard.UnixNano()) })
	for _, p := range ripe {
		p.m.finish(Expired, Close{1001, "the client did not come back"})
		p.m.seen.ages[len(p.m.seen.ages)-1] = p.m.heard.Add(p.m.set.TTL).Sub(p.m.opened)
	}
}
