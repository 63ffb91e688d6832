package admin

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The fixed sets of label values, with "other" for whatever is in none. A test
// of package server holds them against what package proxy reports.
var (
	causes = []string{
		"client_close", "backend_close", "client_gone", "backend_gone",
		"client_timeout", "backend_timeout", "client_stalled", "backend_stalled",
		"client_violation", "backend_violation", "drain",
	}
	refusals = []string{"origin", "connections", "per_address", "rate", "handshake", "memory"}
	outcomes = []string{"ok", "refused", "invalid", "timeout", "error", "canceled"}
	hops     = []string{"client", "backend"}
	// directions are of messages: down to the client, up to the backend.
	directions = []string{"down", "up"}
)

// vectors are the metrics that exist once per route.
type vectors struct {
	open                *prometheus.GaugeVec
	opened, dials       *prometheus.CounterVec
	closed, refused     *prometheus.CounterVec
	bytes, messages     *prometheus.CounterVec
	dialTime, rtt, ages *prometheus.HistogramVec
}

func newVectors(r *prometheus.Registry) vectors {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return register(r, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"route"}, labels...)))
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		o := prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}
		return register(r, prometheus.NewHistogramVec(o, append([]string{"route"}, labels...)))
	}
	return vectors{
		open:     register(r, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sidecar_connections", Help: "Connections being relayed now."}, []string{"route"})),
		opened:   counter("sidecar_connections_opened_total", "Connections that were relayed."),
		closed:   counter("sidecar_connections_closed_total", "Relayed connections that ended, by what ended them.", "cause"),
		refused:  counter("sidecar_handshakes_refused_total", "Handshakes turned away before the backend was asked.", "reason"),
		dials:    counter("sidecar_backend_dials_total", "Handshakes with the backend, by their outcome.", "outcome"),
		bytes:    counter("sidecar_relayed_bytes_total", "Bytes relayed, frame headers included; up is from the client.", "direction"),
		messages: counter("sidecar_relayed_messages_total", "Data messages relayed; up is from the client.", "direction"),
		dialTime: histogram("sidecar_backend_dial_seconds", "Time from the dial to the backend's whole answer.", []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}),
		rtt:      histogram("sidecar_ping_rtt_seconds", "Time in which our pings were answered.", []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}, "hop"),
		ages:     histogram("sidecar_connection_age_seconds", "Age of relayed connections when they ended.", []float64{.1, 1, 10, 60, 300, 1800, 3600, 4 * 3600, 24 * 3600, 7 * 24 * 3600}),
	}
}

func register[C prometheus.Collector](r *prometheus.Registry, c C) C {
	r.MustRegister(c)
	return c
}

// sets are the counters of one label whose values are fixed, each made at 0 so
// that a rate is right from the first event on.
type sets map[string]prometheus.Counter

func newSets(v *prometheus.CounterVec, values []string, before ...string) sets {
	s := make(sets, len(values)+1)
	for _, value := range append([]string{other}, values...) {
		s[value] = v.WithLabelValues(append(before[:len(before):len(before)], value)...)
	}
	return s
}

// of is the counter for value, or for "other".
func (s sets) of(value string) prometheus.Counter {
	if c, ok := s[value]; ok {
		return c
	}
	return s[other]
}

// A Route is the metrics of one route; it observes package proxy. Its methods
// do not block and may be called from many goroutines at once.
type Route struct {
	open                   prometheus.Gauge
	opened                 prometheus.Counter
	closed, refused, dials sets
	bytes, messages        [2]prometheus.Counter // down, up
	dialTime, age          prometheus.Observer
	rtt                    map[string]prometheus.Observer
}

// Route is the metrics of the route with the operator's name for it. They stay
// after a reload has removed the route: its connections may live on.
func (m *Metrics) Route(name string) *Route {
	v := &m.perRoute
	r := &Route{
		open:     v.open.WithLabelValues(name),
		opened:   v.opened.WithLabelValues(name),
		closed:   newSets(v.closed, causes, name),
		refused:  newSets(v.refused, refusals, name),
		dials:    newSets(v.dials, outcomes, name),
		dialTime: v.dialTime.WithLabelValues(name),
		age:      v.ages.WithLabelValues(name),
		rtt:      map[string]prometheus.Observer{},
	}
	for i, direction := range directions {
		r.bytes[i] = v.bytes.WithLabelValues(name, direction)
		r.messages[i] = v.messages.WithLabelValues(name, direction)
	}
	for _, hop := range hops {
		r.rtt[hop] = v.rtt.WithLabelValues(name, hop)
	}
	return r
}

// Refused counts a handshake that was turned away.
func (r *Route) Refused(reason string) { r.refused.of(reason).Inc() }

// Dialed counts an attempt to reach the backend.
func (r *Route) Dialed(outcome string, took time.Duration) {
	r.dials.of(outcome).Inc()
	r.dialTime.Observe(took.Seconds())
}

// Opened counts a connection that is being relayed.
func (r *Route) Opened() {
	r.opened.Inc()
	r.open.Inc()
}

// Closed counts its end.
func (r *Route) Closed(cause string, age time.Duration) {
	r.open.Dec()
	r.closed.of(cause).Inc()
	r.age.Observe(age.Seconds())
}

// Relayed counts bytes, and the data messages that ended among them.
func (r *Route) Relayed(up bool, bytes, messages int) {
	i := 0
	if up {
		i = 1
	}
	r.bytes[i].Add(float64(bytes))
	r.messages[i].Add(float64(messages))
}

// Answered records a ping's round trip; a hop that is neither "client" nor
// "backend" is nobody's.
func (r *Route) Answered(hop string, rtt time.Duration) {
	if o, ok := r.rtt[hop]; ok {
		o.Observe(rtt.Seconds())
	}
}
