package admin

import (
	"cmp"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// maxExpiries bounds the certificates that are shown. Of more, those are that expire
// first.
const maxExpiries = 100

// CertificateStages are where getting a certificate can fail.
var CertificateStages = []string{"obtain", "renew", "storage", "ask"}

// HandshakeFailures are why a TLS handshake with a client can fail.
var HandshakeFailures = []string{"unknown_name", "no_certificate", "client_certificate", "refused", "gone", "timeout", "protocol"}

// An Expiry is the end of a certificate.
type Expiry struct {
	Name string // one that it is for
	At   time.Time
}

// newCertificates makes what is counted of certificates. Only Certificates shows it.
func (m *Metrics) newCertificates() {
	m.renewals = prometheus.NewCounter(prometheus.CounterOpts{Name: "sidecar_tls_renewals_total", Help: "Certificates got in another's place."})
	m.failures = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sidecar_tls_failures_total", Help: "Failures to get or renew a certificate, to use their storage, or to ask whether a name may have one."}, []string{"stage"})
	m.failed = newSets(m.failures, CertificateStages)
	m.handshakes = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sidecar_tls_handshakes_failed_total", Help: "TLS handshakes with clients that failed."}, []string{"reason"})
	m.unshaken = newSets(m.handshakes, HandshakeFailures)
}

// Certificates shows the ends of those that clients get, and whether all is well with
// them. It is called once at most, where TLS ends here.
func (m *Metrics) Certificates(list func() []Expiry, fresh func() bool) {
	m.registry.MustRegister(expiries{list}, m.renewals, m.failures, m.handshakes, prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Name: "sidecar_tls_certificate_fresh", Help: "0 while the files hold no certificate and key, or no roots of clients, that can be used, or while one cannot be got or renewed: the old ones go on."},
		func() float64 {
			if fresh() {
				return 1
			}
			return 0
		}))
}

// ClientRoots shows the first end of a root of clients' certificates, or nothing while it
// is the zero time. It is called once at most.
func (m *Metrics) ClientRoots(ends func() time.Time) { m.registry.MustRegister(rootsEnd(ends)) }

// rootsEnd collects that end when it is asked for.
type rootsEnd func() time.Time

var rootsDesc = prometheus.NewDesc("sidecar_tls_client_roots_expiry_timestamp_seconds",
	"When the first root of clients' certificates expires, in Unix time; not there while clients are asked for none.", nil, nil)

func (e rootsEnd) Describe(c chan<- *prometheus.Desc) { c <- rootsDesc }

func (e rootsEnd) Collect(c chan<- prometheus.Metric) {
	if at := e(); !at.IsZero() {
		c <- prometheus.MustNewConstMetric(rootsDesc, prometheus.GaugeValue, float64(at.Unix()))
	}
}

// Renewed counts a certificate that was got in another's place.
func (m *Metrics) Renewed() { m.renewals.Inc() }

// CertificateFailed counts a failure, at one of CertificateStages.
func (m *Metrics) CertificateFailed(stage string) { m.failed.of(stage).Inc() }

// HandshakeFailed counts a handshake that failed, for one of HandshakeFailures.
func (m *Metrics) HandshakeFailed(reason string) { m.unshaken.of(reason).Inc() }

// expiries collects the end of each certificate when it is asked for.
type expiries struct{ list func() []Expiry }

var expiryDesc = prometheus.NewDesc("sidecar_tls_certificate_expiry_timestamp_seconds",
	"When the certificate that clients of this name get expires, in Unix time; of many, those that expire first.", []string{"name"}, nil)

func (e expiries) Describe(c chan<- *prometheus.Desc) { c <- expiryDesc }

// Collect sends at most maxExpiries, and each name once: two with the same labels
// would spoil the whole answer.
func (e expiries) Collect(c chan<- prometheus.Metric) {
	all := slices.Clone(e.list())
	slices.SortStableFunc(all, func(a, b Expiry) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Name, b.Name)) })
	sent := map[string]bool{}
	for _, one := range all {
		if sent[one.Name] {
			continue
		}
		if len(sent) == maxExpiries {
			return
		}
		sent[one.Name] = true
		c <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue, float64(one.At.Unix()), one.Name)
	}
}
