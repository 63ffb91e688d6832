package certs

import (
	"context"
	"log/slog"
	"maps"
	"slices"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newZap is the logger that certmagic wants, on top of log. What it says of its daily
// work is debug; this package says in its own lines what an operator has to know.
func newZap(log *slog.Logger) *zap.Logger { return zap.New(&bridge{log: log}) }

// A bridge is a zapcore.Core that writes to slog.
type bridge struct {
	log    *slog.Logger
	fields []zapcore.Field
}

// told are the warnings and errors that are debug here: what the lines of this package
// say already, what any stranger can cause, and what passes by itself.
var told = map[string]bool{
	"could not get certificate from issuer":     true,
	"job failed":                                true,
	"tls-alpn challenge":                        true,
	"looking up info for HTTP challenge":        true,
	"validating authorization":                  true,
	"challenge failed":                          true,
	"HTTP request failed; retrying":             true,
	"updating ARI":                              true,
	"failed updating renewal info from ACME CA": true,
	"error getting ARI response":                true,
	"failed getting renewal information":        true,
	"error while checking storage for updated ARI; updating ARI now":             true,
	"no renewal time had been selected with ARI; chose an ephemeral one for now": true,
	"certificate is in emergency renewal window; expiration imminent":            true,
	"certificate is in emergency renewal window; superseding ARI":                true,
}

// levelOf is what an entry is worth here.
func levelOf(e zapcore.Entry) slog.Level {
	switch {
	case e.Level < zapcore.WarnLevel || told[e.Message]:
		return slog.LevelDebug
	case e.Level == zapcore.WarnLevel, e.Level == zapcore.ErrorLevel:
		return slog.LevelWarn // it goes on, and tries again
	}
	return slog.LevelError
}

func (b *bridge) Enabled(l zapcore.Level) bool {
	return b.log.Enabled(context.Background(), levelOf(zapcore.Entry{Level: l}))
}

func (b *bridge) With(fields []zapcore.Field) zapcore.Core {
	return &bridge{b.log, append(slices.Clip(b.fields), fields...)}
}

func (b *bridge) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if b.log.Enabled(context.Background(), levelOf(e)) {
		return c.AddCore(e, b)
	}
	return c
}

func (b *bridge) Write(e zapcore.Entry, fields []zapcore.Field) error {
	m := zapcore.NewMapObjectEncoder()
	for _, f := range append(slices.Clip(b.fields), fields...) {
		f.AddTo(m)
	}
	var attrs []slog.Attr
	for _, key := range slices.Sorted(maps.Keys(m.Fields)) {
		attrs = append(attrs, slog.Any(key, m.Fields[key]))
	}
	b.log.LogAttrs(context.Background(), levelOf(e), "certmagic: "+e.Message, attrs...)
	return nil
}

func (b *bridge) Sync() error { return nil }
