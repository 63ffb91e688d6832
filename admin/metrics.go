package admin

import (
	"math"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// other stands for every label value that is in no fixed set: a stranger can
// then raise a number, but never add a series.
const other = "other"

// Reasons are why a request can be answered without asking any backend.
var Reasons = []string{"no_route", "target", "method", "dot_segment", "protocol", "host", "streams", "connections", "certificate"}

// Metrics are the program's numbers, in a registry of their own. All labels are
// from fixed sets or are the operator's own route names. Methods may be called
// from many goroutines at once.
type Metrics struct {
	registry   *prometheus.Registry
	perRoute   vectors
	perSession sessionVectors

	refused    sets
	pauses     prometheus.Counter
	reloads    sets
	reloadTime prometheus.Gauge
	reloadOK   prometheus.Gauge
	draining   prometheus.Gauge
	limits     *prometheus.GaugeVec
	maxFiles   prometheus.Gauge
	maxSockets prometheus.Gauge

	renewals prometheus.Counter
	failures *prometheus.CounterVec
	failed   sets

	handshakes *prometheus.CounterVec
	unshaken   sets
}

// A Build says what program this is.
type Build struct{ Version, Revision, Go string }

// NewMetrics makes the metrics of one program. sockets counts the client
// sockets that are open now.
func NewMetrics(b Build, sockets func() int) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.perRoute = newVectors(m.registry)
	m.perSession = newSessionVectors(m.registry)
	m.refused = newSets(m.counters("sidecar_requests_refused_total", "Requests answered without asking any backend, before a route's own checks.", "reason"), Reasons)
	m.pauses = m.counter("sidecar_accept_pauses_total", "Times that accepting waited because of the bound on client sockets or for want of descriptors.")
	m.reloads = newSets(m.counters("sidecar_config_reloads_total", "Reloads of the configuration.", "result"), []string{"ok", "failed"})
	m.reloadTime = m.gauge("sidecar_config_last_reload_timestamp_seconds", "When the configuration was last put in force, in Unix time.")
	m.reloadOK = m.gauge("sidecar_config_last_reload_ok", "1 if the last attempt to read the configuration put it in force.")
	m.draining = m.gauge("sidecar_draining", "1 while the program is stopping.")
	m.limits = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sidecar_limit", Help: "Bounds in force for the whole program; +Inf means none."}, []string{"limit"})
	m.maxFiles = m.gauge("sidecar_descriptors_max", "Descriptors this process may have (RLIMIT_NOFILE) that the bounds were reckoned from.")
	m.maxSockets = m.gauge("sidecar_client_sockets_max", "Client sockets that are accepted before accepting waits.")
	m.registry.MustRegister(m.limits, buildInfo(b), prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Name: "sidecar_client_sockets", Help: "Client sockets open now, with a connection on them or not, and requests over HTTP/2, which each count as one more."},
		func() float64 { return float64(sockets()) }))
	m.newCertificates()
	m.reloadTime.SetToCurrentTime()
	m.reloadOK.Set(1)
	return m
}

func buildInfo(b Build) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sidecar_build_info", Help: "Always 1; the labels say what program this is.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Revision, "goversion": b.Go},
	})
	g.Set(1)
	return g
}

func (m *Metrics) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	m.registry.MustRegister(g)
	return g
}

func (m *Metrics) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	m.registry.MustRegister(c)
	return c
}

func (m *Metrics) counters(name, help, label string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	m.registry.MustRegister(c)
	return c
}

// Refused counts a request that was answered without a route's own checks, for
// one of Reasons.
func (m *Metrics) Refused(reason string) { m.refused.of(reason).Inc() }

// Paused counts one wait of accept.
func (m *Metrics) Paused() { m.pauses.Inc() }

// Reloaded counts an attempt to put a new configuration in force.
func (m *Metrics) Reloaded(ok bool) {
	if !ok {
		m.reloads.of("failed").Inc()
		m.reloadOK.Set(0)
		return
	}
	m.reloads.of("ok").Inc()
	m.reloadOK.Set(1)
	m.reloadTime.Set(float64(time.Now().UnixMilli()) / 1e3)
}

// Draining says that the program is stopping.
func (m *Metrics) Draining() { m.draining.Set(1) }

// Limit shows the bound of one name, such as "connections"; a negative n means none.
func (m *Metrics) Limit(name string, n int) {
	v := float64(n)
	if n < 0 {
		v = math.Inf(1)
	}
	m.limits.WithLabelValues(name).Set(v)
}

// Descriptors shows the descriptor limit and the client sockets it allows.
func (m *Metrics) Descriptors(files, sockets int) {
	m.maxFiles.Set(float64(files))
	m.maxSockets.Set(float64(sockets))
}

// handler serves the numbers. Several slow scrapers at once would each hold a
// whole answer in memory; beyond four they get 503.
func (m *Metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}
