package server

import (
	"io"
	"log"
	"log/slog"
	"os"
	"strings"
)

// NewLogger logs to w as config.Log.Format says: "text", "json", or "auto" for
// text on a terminal and JSON elsewhere. level may change at any time. Both ways
// write one line for each record, whatever a stranger put into it.
func NewLogger(w io.Writer, format string, level slog.Leveler) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if format == "text" || format != "json" && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, o))
	}
	o.ReplaceAttr = inSeconds
	return slog.New(slog.NewJSONHandler(w, o))
}

// inSeconds writes durations in JSON as seconds, the base unit that the metrics
// use too, and not as slog's bare nanoseconds.
func inSeconds(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.Float64Value(a.Value.Duration().Seconds())
	}
	return a
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// errorLog takes what net/http has to say, which is nearly always about a
// client that broke off, and so debug.
func errorLog(l *slog.Logger) *log.Logger { return log.New(debugWriter{l}, "", 0) }

type debugWriter struct{ log *slog.Logger }

func (d debugWriter) Write(b []byte) (int, error) {
	d.log.Debug("http server", "text", clip(strings.TrimSpace(string(b))))
	return len(b), nil
}
