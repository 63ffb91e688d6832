package server

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestDurationsAreSecondsInJSON(t *testing.T) {
	for format, want := range map[string]string{"json": `"duration":1.5`, "text": "duration=1.5s", "auto": `"duration":1.5`} {
		var b bytes.Buffer
		NewLogger(&b, format, slog.LevelInfo).Info("connection ended", "duration", 1500*time.Millisecond)
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s: %s; want %s", format, b.String(), want)
		}
	}
}
