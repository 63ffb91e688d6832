package server

import (
	"testing"
)

// Blanks that are none in HTTP (RFC 9110 §5.6.3), and other ways to name our header in
// Connection, so that whoever reads that list otherwise than we do takes it for one
// that concerns the client's connection only.
var disguises = []string{
	"\u00a0X-Client-Subject", "X-Client-Subject\u00a0", "\u0085x-client-subject", "\u2003X-Client-Subject\u3000", "\u2028x-client-subject",
	"\t X-CLIENT-SUBJECT \t", ",,x.client.subject,,", "\"X-Client-Subject\"", "X-Client-Subject;a=b", "X-Client-Subject=1",
}

// With mode require the backend hears of every client: none may have its subject
// taken away on the way.
func TestAClientCannotHideItsSubject(t *testing.T) {
	i := startIdentified(t, Environment{}, "require")
	alice := i.caller(i.clients.Client(t, "alice"))
	for _, alice.lists = range disguises {
		for _, way := range ways {
			if way.h2 {
				continue // it has no Connection
			}
			if status, text, err := way.ask(alice, false); err != nil || status != way.want {
				t.Errorf("Connection: %q, %s: %d %q, %v", alice.lists, way.name, status, text, err)
				continue
			}
			if got := i.backend.saw(); got != "X-Client-Subject: CN=alice" {
				t.Errorf("Connection: %q, %s: the backend was told %q", alice.lists, way.name, got)
			}
		}
	}
}
