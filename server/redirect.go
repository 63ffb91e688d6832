package server

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"sidecar/access"
)

// bindRedirect opens the plain listener that redirects to https and answers http-01.
func (s *Server) bindRedirect() error {
	if !s.boot.TLS.Redirects() {
		return nil
	}
	l, err := listen(s.boot.TLS.HTTP)
	if err != nil {
		return fmt.Errorf("tls.http: %w; off is for no redirects", err)
	}
	s.redirectListener = s.bounded(l)
	return nil
}

// redirector is the server of that listener. A client asks once and goes away.
func (s *Server) redirector() *http.Server {
	var one http.Protocols
	one.SetHTTP1(true)
	h := &http.Server{
		Handler: http.HandlerFunc(s.redirect), Protocols: &one, DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout: s.boot.Limits.HeaderTimeout, ReadTimeout: s.boot.Limits.HeaderTimeout + answerTime,
		WriteTimeout: s.boot.Limits.HeaderTimeout + answerTime, MaxHeaderBytes: maxHeader, ErrorLog: errorLog(s.log),
	}
	h.SetKeepAlivesEnabled(false)
	return h
}

// redirect sends a client to the same URL with https, unless it is an authority that
// looks for the answer to a challenge of the kind http-01. Only to a host that there
// is a certificate for: what a stranger can make somebody's client or cache ask for
// must not choose where it is sent.
func (s *Server) redirect(w http.ResponseWriter, r *http.Request) {
	defer s.logPanic()
	if refusal := checkTarget(r); refusal != nil {
		s.refuse(w, r, refusal)
		return
	}
	if s.certs.Challenge(w, r) {
		return
	}
	host := hostOf(r.Host)
	if !s.certs.Serves(host) {
		s.refuse(w, r, &access.Refusal{Status: http.StatusMisdirectedRequest, Reason: "host", Text: "there is no certificate for this host (tls)"})
		return
	}
	status := http.StatusPermanentRedirect // keeps the method and the body
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		status = http.StatusMovedPermanently // which everybody knows
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(answerTime))
	http.Redirect(w, r, "https://"+s.authority(host, r.Host)+r.RequestURI, status)
}

// authority is host with the port that clients reach our TLS listener at. It is the
// port we listen on, unless the client asked for another than the one that the
// redirecting listener has: then something in between maps ports, and 443 is what
// it most likely maps.
func (s *Server) authority(host, asked string) string {
	port := "443"
	if own := portOf(s.redirectListener.Addr()); own == "" || own == askedPort(asked) {
		port = s.tlsPort()
	}
	if port == "443" || port == "" {
		if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
			return "[" + host + "]"
		}
		return host
	}
	return net.JoinHostPort(host, port)
}

// askedPort is the port in a Host header, 80 where there is none.
func askedPort(host string) string {
	if _, port, err := net.SplitHostPort(host); err == nil && port != "" {
		return port
	}
	return "80"
}

// tlsPort is the port of the first client listener that has one.
func (s *Server) tlsPort() string {
	for _, a := range s.Addrs() {
		if port := portOf(a); port != "" {
			return port
		}
	}
	return ""
}

// portOf is a bound address's port, "" for a unix socket.
func portOf(a net.Addr) string {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return ""
	}
	return fmt.Sprint(t.Port)
}
