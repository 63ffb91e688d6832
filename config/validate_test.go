package config

import (
	"fmt"
	"log/slog"
	"testing"
	"time"
)

func TestOwnSettingsValidate(t *testing.T) {
	limits := Default().Limits
	limits.HeaderTimeout, limits.Proxy.DialTimeout, limits.Access.Connections, limits.Polling.Body = -1, 0, -2, 0
	for _, c := range []struct {
		settings interface{ Validate() error }
		want     string
	}{
		{Default().Log, "<nil>"},
		{Log{Level: slog.LevelDebug + 1, Format: "xml"}, "level: DEBUG+1 must be debug, info, warn or error\nformat: \"xml\" must be auto, text or json"},
		{Default().Drain, "<nil>"},
		{Drain{}, "<nil>"},
		{Drain{Delay: -1, For: -time.Second}, "delay: -1ns must not be negative\nfor: -1s must not be negative"},
		{Default().Limits, "<nil>"},
		{limits, "connections: -2 must not be negative: write off for no bound\ndial_timeout: 0s must be positive\n" +
			"body: 0 must be at least 1024 bytes\nheader_timeout: -1ns must be positive"},
	} {
		if got := fmt.Sprint(c.settings.Validate()); got != c.want {
			t.Errorf("%+v:\ngot  %s\nwant %s", c.settings, got, c.want)
		}
	}
}

func TestSizesAndDurationsAreWrittenShort(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 1: "1", 999: "999", 1000: "1KB", 1024: "1KiB", 4096: "4KiB", 65536: "64KiB", 1e6: "1MB", 16 << 20: "16MiB",
		1 << 30: "1GiB", 1e9: "1GB", 1<<20 + 1: "1048577",
	} {
		if got := sizeText(n); got != want {
			t.Errorf("%d bytes are %s; want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0s", time.Second: "1s", time.Minute: "1m", 10 * time.Minute: "10m", 90 * time.Second: "1m30s",
		time.Hour: "1h", time.Hour + time.Second: "1h0m1s", maxDuration: "8760h", -time.Hour: "-1h",
	} {
		if got := durationText(d); got != want {
			t.Errorf("%v is %s; want %s", d, got, want)
		}
	}
}
