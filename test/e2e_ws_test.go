package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// wsScenarios plays all scenarios of the ws client once, against ws://host:port or
// wss://host:port.
func wsScenarios(t *testing.T, url string, env ...string) map[string]json.RawMessage {
	t.Helper()
	all := map[string]json.RawMessage{}
	for line := range bytes.Lines(nodeIn(t, env, "client.mjs", url)) {
		var l struct {
			Scenario string
			Seen     json.RawMessage
		}
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatalf("reading %q: %v", line, err)
		}
		all[l.Scenario] = l.Seen
	}
	return all
}

// wsWants is what a ws client sees through the sidecar, as JSON. It is what it
// sees without one, but for the connections that ended without a close frame:
// there each end is told.
var wsWants = map[string]string{
	"echo":                                `{"sent":9,"same":9,"extensions":"","closed":{"code":1000,"reason":"done"}}`,
	"echo with compression":               `{"sent":9,"same":9,"extensions":"permessage-deflate","closed":{"code":1000,"reason":"done"}}`,
	"compression offered, not wanted":     `{"sent":9,"same":9,"extensions":"","closed":{"code":1000,"reason":"done"}}`,
	"one megabyte":                        `{"sent":3,"same":3,"extensions":"","closed":{"code":1000,"reason":"done"}}`,
	"one megabyte with compression":       `{"sent":2,"same":2,"extensions":"permessage-deflate","closed":{"code":1000,"reason":"done"}}`,
	"subprotocol":                         `{"protocol":"second"}`,
	"fragments with a ping between":       `{"got":"one two three","pong":"in between"}`,
	"pinged by the backend":               `{"ping":"from the backend","pong":"from the backend"}`,
	"close by the backend":                `{"code":4321,"reason":"bis später"}`,
	"close without a code by the backend": `{"code":1005,"reason":""}`,
	"close by the client":                 `{"client":{"code":4999,"reason":"see you"},"backend":{"code":4999,"reason":"see you"}}`,
	"text that is no UTF-8":               `{"code":1007,"reason":""}`,
	"client gone without a close":         `{"backend":{"code":1001,"reason":""}}`,
	"backend gone without a close":        `{"code":1012,"reason":""}`,
	"backend gone with a reset":           `{"code":1012,"reason":""}`,
}

func TestWSPackageThroughTheSidecar(t *testing.T) {
	t.Parallel()
	judge(t, wsScenarios(t, "ws://"+boot(t, startNode(t).addr, "").addr), "http")
}

// judge judges all that a ws client saw, which came by http or https.
func judge(t *testing.T, seen map[string]json.RawMessage, scheme string) {
	for scenario, want := range wsWants {
		t.Run(scenario, func(t *testing.T) { sameJSON(t, seen[scenario], want) })
		delete(seen, scenario)
	}
	t.Run("headers", func(t *testing.T) { checkHeaders(t, seen["headers"], scheme) })
	delete(seen, "headers")
	for _, status := range []int{302, 401, 403, 404, 503} {
		scenario := fmt.Sprintf("refused with %d", status)
		t.Run(scenario, func(t *testing.T) { checkRefused(t, status, seen[scenario]) })
		delete(seen, scenario)
	}
	for scenario := range seen {
		t.Errorf("nobody judges %q", scenario)
	}
}

func sameJSON(t *testing.T, got json.RawMessage, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got, &g); err != nil || !reflect.DeepEqual(g, w) {
		t.Errorf("got %s (%v); want %s", got, err, want)
	}
}

// The backend must see what a direct client would have sent, and who sent it;
// a stranger's word on that counts for nothing.
func checkHeaders(t *testing.T, seen json.RawMessage, scheme string) {
	var req struct {
		Method, URL string
		Headers     map[string]string
	}
	if err := json.Unmarshal(seen, &req); err != nil {
		t.Fatalf("reading %s: %v", seen, err)
	}
	if req.Method != "GET" || req.URL != "/headers?room=1&x=%20y" {
		t.Errorf("the backend saw %s %s", req.Method, req.URL)
	}
	h := req.Headers
	for name, want := range map[string]string{
		"cookie": "a=1; b=2", "authorization": "Bearer secret", "x-own": "kept", "origin": scheme + "://" + h["host"],
		"sec-websocket-protocol": "chat", "sec-websocket-version": "13", "upgrade": "websocket",
		"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": scheme, "x-forwarded-host": h["host"], "x-real-ip": "",
	} {
		if got := h[name]; got != want {
			t.Errorf("the backend saw %s: %q; want %q", name, got, want)
		}
	}
	if !strings.HasPrefix(h["host"], "127.0.0.1:") || h["sec-websocket-key"] == "" {
		t.Errorf("the backend saw host %q, key %q", h["host"], h["sec-websocket-key"])
	}
	if _, there := h["x-real-ip"]; there {
		t.Error("X-Real-IP of a stranger went through")
	}
}

// A refusal must come back as the backend wrote it.
func checkRefused(t *testing.T, status int, seen json.RawMessage) {
	var got struct {
		Status  int
		Headers map[string]any
		Body    string
	}
	if err := json.Unmarshal(seen, &got); err != nil {
		t.Fatalf("reading %s: %v", seen, err)
	}
	if got.Status != status || got.Body != fmt.Sprintf("refused with %d, says the backend\n", status) {
		t.Errorf("got %d %q", got.Status, got.Body)
	}
	for name, want := range map[string]any{
		"www-authenticate": `Bearer realm="backend"`, "location": "/login", "retry-after": "7",
		"x-backend": "yes", "content-type": "text/plain", "set-cookie": []any{"a=1", "b=2"},
	} {
		if !reflect.DeepEqual(got.Headers[name], want) {
			t.Errorf("%s: got %v; want %v", name, got.Headers[name], want)
		}
	}
}
