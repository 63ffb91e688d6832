package admin

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sidecar/session"
)

// sessionVectors are the metrics that exist once per route and protocol.
type sessionVectors struct {
	open            *prometheus.GaugeVec
	opened, ended   *prometheus.CounterVec
	bytes, messages *prometheus.CounterVec
	skipped, pauses *prometheus.CounterVec
	ages, away      *prometheus.HistogramVec
}

func newSessionVectors(r *prometheus.Registry) sessionVectors {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return register(r, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"route", "protocol"}, labels...)))
	}
	histogram := func(name, help string, buckets ...float64) *prometheus.HistogramVec {
		return register(r, prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, []string{"route", "protocol"}))
	}
	return sessionVectors{
		open:     register(r, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sidecar_sessions", Help: "Sessions that live now."}, []string{"route", "protocol"})),
		opened:   counter("sidecar_sessions_opened_total", "Sessions that were opened."),
		ended:    counter("sidecar_sessions_ended_total", "Sessions that ended, by why.", "reason"),
		bytes:    counter("sidecar_session_bytes_total", "Bytes of the messages of sessions, without any framing; up is to the backend.", "direction"),
		messages: counter("sidecar_session_messages_total", "Messages of sessions; up is to the backend.", "direction"),
		skipped:  counter("sidecar_session_skipped_messages_total", "Messages of clients that had come before."),
		pauses:   counter("sidecar_session_pauses_total", "Times that a session's backend was no longer read, because its client had not taken what waits for it."),
		ages:     histogram("sidecar_session_age_seconds", "Age of sessions when they ended.", .1, 1, 10, 60, 300, 1800, 3600, 4*3600, 24*3600, 7*24*3600),
		away:     histogram("sidecar_session_away_seconds", "How long clients had been away when a carrier was attached to their session, the first one included.", .01, .1, .5, 1, 2, 5, 10, 20, 30, 60, 120),
	}
}

// Sessions are the metrics of the sessions of one protocol on one route; it
// observes package session. Its methods do not block and may be called from many
// goroutines at once.
type Sessions struct {
	open            prometheus.Gauge
	opened          prometheus.Counter
	ended           sets
	bytes, messages [2]prometheus.Counter // down, up
	skipped, pauses prometheus.Counter
	age, away       prometheus.Observer
}

var _ session.Observer = (*Sessions)(nil)

// Sessions are the metrics of a protocol, one of the program's own names, on the
// route with the operator's name for it. They stay after a reload has removed the
// route: its sessions may live on.
func (m *Metrics) Sessions(route, protocol string) *Sessions {
	v := &m.perSession
	s := &Sessions{
		open:    v.open.WithLabelValues(route, protocol),
		opened:  v.opened.WithLabelValues(route, protocol),
		ended:   newSets(v.ended, session.Reasons, route, protocol),
		skipped: v.skipped.WithLabelValues(route, protocol),
		pauses:  v.pauses.WithLabelValues(route, protocol),
		age:     v.ages.WithLabelValues(route, protocol),
		away:    v.away.WithLabelValues(route, protocol),
	}
	for i, direction := range directions {
		s.bytes[i] = v.bytes.WithLabelValues(route, protocol, direction)
		s.messages[i] = v.messages.WithLabelValues(route, protocol, direction)
	}
	return s
}

// Opened counts a session that has begun.
func (s *Sessions) Opened() {
	s.opened.Inc()
	s.open.Inc()
}

// Ended counts its end.
func (s *Sessions) Ended(why session.Reason, age time.Duration) {
	s.open.Dec()
	s.ended.of(why.String()).Inc()
	s.age.Observe(age.Seconds())
}

// Attached records how long a client was away. One carrier that takes over from
// another is nobody's coming back.
func (s *Sessions) Attached(away time.Duration) {
	if away > 0 {
		s.away.Observe(away.Seconds())
	}
}

// Passed counts a message.
func (s *Sessions) Passed(up bool, bytes int) {
	i := 0
	if up {
		i = 1
	}
	s.bytes[i].Add(float64(bytes))
	s.messages[i].Inc()
}

// Skipped counts messages that had come before.
func (s *Sessions) Skipped(messages int) { s.skipped.Add(float64(messages)) }

// Paused counts a backend that is not read for a while.
func (s *Sessions) Paused() { s.pauses.Inc() }

// SessionMemory shows what all sessions hold and the most that they may, each asked
// for at every scrape; a bound of 0 is none. It is called once at most.
func (m *Metrics) SessionMemory(held, bound func() int64) {
	show := func(name, help string, f func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f))
	}
	show("sidecar_session_memory_bytes", "Bytes that all sessions hold: 1 KiB each, and what waits for their clients.",
		func() float64 { return float64(held()) })
	show("sidecar_session_memory_max_bytes", "The most that all sessions may hold; +Inf means no bound.", func() float64 {
		if b := bound(); b > 0 {
			return float64(b)
		}
		return math.Inf(1)
	})
}
