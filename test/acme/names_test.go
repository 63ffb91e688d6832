package acme

import (
	"net"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// A zone is the DNS that an authority asks: every name is at 127.0.0.1, but for those
// that were moved. It has no AAAA, TXT or CAA records.
type zone struct {
	addr  string // host:port, TCP
	mu    sync.Mutex
	moved map[string]net.IP
}

func serveZone(t testing.TB) *zone {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	z := &zone{addr: l.Addr().String(), moved: map[string]net.IP{}}
	up, ended := make(chan struct{}), make(chan error, 1)
	s := &dns.Server{Listener: l, Handler: dns.HandlerFunc(z.answer), NotifyStartedFunc: func() { close(up) }}
	go func() { ended <- s.ActivateAndServe() }()
	<-up // Shutdown of a server that has not begun is an error, and it would begin later
	t.Cleanup(func() {
		if err := s.Shutdown(); err != nil {
			t.Errorf("ending the DNS: %v", err)
		}
		<-ended
	})
	return z
}

// move says where name is from now on.
func (z *zone) move(name, ip string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.moved[dns.Fqdn(name)] = net.ParseIP(ip)
}

func (z *zone) at(name string) net.IP {
	z.mu.Lock()
	defer z.mu.Unlock()
	if ip := z.moved[name]; ip != nil {
		return ip
	}
	return net.IPv4(127, 0, 0, 1)
}

func (z *zone) answer(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	for _, one := range q.Question {
		if one.Qtype == dns.TypeA {
			m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: one.Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: z.at(one.Name)})
		}
	}
	_ = w.WriteMsg(m) // a validation that has gone away
}
