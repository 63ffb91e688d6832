package certs

import (
	"fmt"
	"testing"
)

func TestClientAuthValidate(t *testing.T) {
	const another = `; take one such as X-Client-Subject`
	for _, c := range []struct {
		name string
		a    ClientAuth
		want string
	}{
		{"none", ClientAuth{}, "<nil>"},
		{"default", Default().ClientAuth, "<nil>"},
		{"roots", ClientAuth{CA: "a.pem"}, "<nil>"},
		{"all", ClientAuth{CA: "a.pem", Mode: "request", Header: "Ssl_Client_S_Dn"}, "<nil>"},
		{"no roots", ClientAuth{Mode: "request"}, "client_auth.ca: is missing; name the PEM file of the roots of clients' certificates"},
		{"mode", ClientAuth{CA: "a.pem", Mode: "verify"}, `client_auth.mode: "verify" must be require or request`},
		{"a header with a colon", ClientAuth{CA: "a.pem", Header: "A: b"}, `client_auth.header: "A: b" is no name of a header` + another},
		{"a header on two lines", ClientAuth{CA: "a.pem", Header: "A\r\nB"}, `client_auth.header: "A\r\nB" is no name of a header` + another},
		{"a hop-by-hop header", ClientAuth{CA: "a.pem", Header: "Transfer_Encoding"}, `client_auth.header: "Transfer_Encoding" has another meaning already` + another},
		{"the host", ClientAuth{CA: "a.pem", Header: "host"}, `client_auth.header: "host" has another meaning already` + another},
		{"a forwarding header", ClientAuth{CA: "a.pem", Header: "x-forwarded-Client-Cert"}, `client_auth.header: "x-forwarded-Client-Cert" has another meaning already` + another},
		{"one of the handshake", ClientAuth{CA: "a.pem", Header: "Sec-WebSocket-Key"}, `client_auth.header: "Sec-WebSocket-Key" has another meaning already` + another},
		{"ours", ClientAuth{CA: "a.pem", Header: "X-Sidecar-Session"}, `client_auth.header: "X-Sidecar-Session" has another meaning already` + another},
		{"a long one", ClientAuth{CA: "a.pem", Header: "X-23456789012345678901234567890123456789012345678901234567890123456"}, `client_auth.header: "X-23456789012345678901234567890123456789012345678901234567890123456" is longer than 64 characters`},
	} {
		s := Default()
		s.Mode, s.Cert, s.Key, s.ClientAuth = "files", []string{"a"}, []string{"b"}, c.a
		if got := fmt.Sprint(s.Validate()); got != c.want {
			t.Errorf("%s: got %s; want %s", c.name, got, c.want)
		}
	}
	off := Default()
	off.ClientAuth.CA = "a.pem"
	if got := fmt.Sprint(off.Validate()); got != "client_auth: has no effect with mode off" {
		t.Errorf("with mode off: %s", got)
	}
}
