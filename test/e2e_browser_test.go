package test

import (
	"encoding/json"
	"net/http/httptest"
	"testing"

	"sidecar/demo"
)

// browse opens url in Chromium, with flags of its own, and returns what expression
// gives there.
func browse(t *testing.T, url, expression string, flags ...string) json.RawMessage {
	t.Helper()
	value, fault := browseAs(t, t.TempDir(), url, expression, flags...)
	if fault != "" {
		t.Fatalf("opening %s: %s", url, fault)
	}
	return value
}

// browseAs is browse as the user with this home directory. What keeps the page from
// being opened is the fault.
func browseAs(t *testing.T, home, url, expression string, flags ...string) (value json.RawMessage, fault string) {
	t.Helper()
	var got struct {
		Version    string
		Value      json.RawMessage
		Error      string
		Complaints []string
	}
	args := append([]string{need(t, "chromium"), url, t.TempDir(), expression}, flags...)
	out := nodeIn(t, []string{"HOME=" + home}, "browser.mjs", args...)
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("reading %q: %v", out, err)
	}
	t.Logf("Chromium %s said %q", got.Version, got.Complaints)
	return got.Value, got.Error
}

func TestBrowserThroughTheSidecar(t *testing.T) {
	t.Parallel()
	s := boot(t, startNode(t).addr, "")
	judgePage(t, browse(t, "http://"+s.addr+"/page.html", "window.results"))
}

// judgePage judges what the page saw.
func judgePage(t *testing.T, results json.RawMessage) {
	var seen map[string]json.RawMessage
	if err := json.Unmarshal(results, &seen); err != nil {
		t.Fatal(err)
	}
	wants := map[string]string{
		"plain":                `{"sent":32,"same":32,"extensions":"","closed":{"code":1000,"reason":"done","clean":true}}`,
		"with compression":     `{"sent":32,"same":32,"extensions":"permessage-deflate","closed":{"code":1000,"reason":"done","clean":true}}`,
		"close by the backend": `{"protocol":"first","closed":{"code":4321,"reason":"bye","clean":true}}`,
		"close by the page":    `{"closed":{"code":4999,"reason":"see you","clean":true},"backend":{"code":4999,"reason":"see you"}}`,
		"backend gone":         `{"protocol":"","closed":{"code":1012,"reason":"","clean":true}}`,
		"refused":              `{"opened":false,"failed":{"code":1006,"reason":"","clean":false}}`,
	}
	for scenario, want := range wants {
		t.Run(scenario, func(t *testing.T) { sameJSON(t, seen[scenario], want) })
	}
	if len(seen) != len(wants) {
		t.Errorf("the page played %d scenarios; want %d", len(seen), len(wants))
	}
}

// A page of another origin must not get in with the user's cookies.
func TestBrowserOfAnotherOriginIsRefused(t *testing.T) {
	t.Parallel()
	backend := startNode(t)
	s := boot(t, backend.addr, "")
	seen := browse(t, "http://"+backend.addr+"/page.html", `(() => {
		const ws = new WebSocket("ws://`+s.addr+`/echo");
		return new Promise((r) => { ws.onopen = () => r("opened"); ws.onclose = (e) => r("closed " + e.code); });
	})()`)
	if got, want := string(seen), `"closed 1006"`; got != want {
		t.Errorf("got %s; want %s", got, want)
	}
}

func TestDemoPageInABrowser(t *testing.T) {
	t.Parallel()
	backend := httptest.NewServer(demo.Backend())
	defer backend.Close()
	s := boot(t, backend.Listener.Addr().String(), "protocols: [websocket, resume, engineio, http]\n") // as the demo's
	var got struct {
		Passed, Failed int
		Panels         []struct{ ID, Status, Detail string }
	}
	seen := browse(t, "http://"+s.addr+"/?run", "window.demoResults")
	if err := json.Unmarshal(seen, &got); err != nil {
		t.Fatalf("reading %s: %v", seen, err)
	}
	for _, p := range got.Panels {
		t.Logf("%s: %s %s", p.ID, p.Status, p.Detail)
		if p.Status != "ok" {
			t.Errorf("panel %q is %q: %s", p.ID, p.Status, p.Detail)
		}
	}
	if got.Failed != 0 || got.Passed == 0 || got.Passed != len(got.Panels) {
		t.Errorf("%d passed, %d failed of %d panels", got.Passed, got.Failed, len(got.Panels))
	}
}
