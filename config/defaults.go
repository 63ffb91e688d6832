package config

import (
	"log/slog"
	"time"

	"sidecar/access"
	"sidecar/admin"
	"sidecar/certs"
	"sidecar/heartbeat"
	"sidecar/polling"
	"sidecar/protocol/engineio"
	"sidecar/protocol/resume"
	"sidecar/protocol/socketio"
	"sidecar/protocol/sockjs"
	"sidecar/proxy"
	"sidecar/session"
)

// Default is the configuration of an empty file, without an upstream.
func Default() Config {
	return Config{
		Listen: []string{":8080"},
		Sections: Sections{
			Protocols: []string{"websocket", "resume", "http"},
			Origins:   access.Origins{"same-origin"},
			Heartbeat: heartbeat.Default(),
			Session:   session.Default(),
			Resume:    resume.Default(),
			EngineIO:  engineio.Default(),
			SocketIO:  socketio.Default(),
			SockJS:    sockjs.Default(),
			Limits: Limits{
				Proxy:         proxy.DefaultLimits(),
				Polling:       polling.DefaultLimits(),
				HeaderTimeout: 5 * time.Second,
			},
		},
		SessionMemory: session.DefaultMemory(),
		TLS:           certs.Default(),
		Drain:         Drain{For: 10 * time.Second},
		Ops:           admin.Default(),
		Log:           Log{Level: slog.LevelInfo, Format: "auto"},
	}
}
