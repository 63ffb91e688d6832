package proxy

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A dead backend and a crowd that comes back again and again must not fill a disk.
func TestComplaintsAreSparse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))
		var b Backend
		for range 1000 {
			b.complain(log, "backend cannot be reached", "/", errors.New("refused"))
			time.Sleep(time.Millisecond)
		}
		b.complain(log, "backend cannot be reached", "/", errors.New("refused"))
		if n := strings.Count(out.String(), "\n"); n != 2 || !strings.Contains(out.String(), "unsaid=999") {
			t.Errorf("%d lines; want 2, the second with what was left unsaid:\n%s", n, out.String())
		}
	})
}
