package access_test

import (
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"testing"

	"sidecar/access"
)

// X-Forwarded-* trust: every spelling that some backend reads as one of ours
// goes, whoever sent it.
func TestSetForwardedRemovesEverySpelling(t *testing.T) {
	for _, name := range []string{
		"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded-Prefix",
		"X-Forwarded-Scheme", "X-Forwarded-Ssl", "X-Forwarded-User", "X-Forwarded", "Forwarded", "X-Real-Ip",
		"X_Forwarded_For", "X-Forwarded_For", "X_Forwarded-For", "X_forwarded_for", "x-forwarded-for", "x_FORWARDED-proto", "X_FORWARDED_HOST",
		"X_Real_Ip", "X-Real_IP", "x_real_ip", "FORWARDED", "X.Forwarded.For", "X!Forwarded~For",
	} {
		h := http.Header{name: {"6.6.6.6", "evil"}}
		access.Client{Addr: netip.MustParseAddr("192.0.2.1"), Scheme: "https", Host: "x"}.SetForwarded(h)
		want := http.Header{"X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"x"}}
		if !maps.EqualFunc(h, want, slices.Equal) {
			t.Errorf("after %q: %v; want %v", name, h, want)
		}
	}
}

func TestSetForwardedKeepsTheRest(t *testing.T) {
	h := header("Authorization", "a", "Cookie", "b", "Origin", "c", "X-Forwarder", "d", "X-Real-Ipa", "e", "Via", "f", "Xforwarded-For", "g")
	want := maps.Clone(h)
	access.Client{}.SetForwarded(h)
	want.Set("X-Forwarded-Proto", "http")
	if !maps.EqualFunc(h, want, slices.Equal) {
		t.Errorf("got %v; want %v", h, want)
	}
}

func TestSetForwardedWithoutKnowledge(t *testing.T) {
	h := http.Header{}
	access.Client{Addr: netip.MustParseAddr("2001:db8::1"), Host: "x:80"}.SetForwarded(h)
	want := http.Header{"X-Forwarded-For": {"2001:db8::1"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"x:80"}}
	if !maps.EqualFunc(h, want, slices.Equal) {
		t.Errorf("got %v; want %v", h, want)
	}
}
