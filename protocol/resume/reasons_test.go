package resume

import (
	"os"
	"strings"
	"testing"

	"sidecar/protocol/resume/wire"
	"sidecar/session"
)

// Whatever a session ends by can be told to its client, under the name that the
// specification has.
func TestReasonsAreInTheSpecification(t *testing.T) {
	b, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, reason := range append([]string{"unknown", "gap"}, session.Reasons...) {
		if _, err := (&wire.Gone{Reason: reason}).Append(nil); err != nil {
			t.Errorf("%s: %v", reason, err)
		}
		if !strings.Contains(string(b), "| `"+reason+"` |") {
			t.Errorf("docs/protocol.md does not say what %s is", reason)
		}
	}
}
