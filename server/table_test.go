package server

import "testing"

func TestFind(t *testing.T) {
	tab := newTable([]*site{
		{name: "chat", path: "/chat"}, {name: "chat/deep", path: "/chat/deep"}, {name: "slash", path: "/slash/"},
		{name: "host", host: "Chat.Example.com", path: "/"}, {name: "host/chat", host: "chat.example.com", path: "/chat"},
		{name: "six", host: "::1", path: "/"}, {name: "narrow", host: "narrow.example", path: "/only"},
		{name: "café", path: "/caf%C3%A9"}, {name: "again", path: "/chat"},
	})
	for _, c := range []struct{ host, path, want string }{
		{"a", "/chat", "chat"}, {"a", "/chat/", "chat"}, {"a", "/chat/x", "chat"}, {"a", "/chatter", ""},
		{"a", "/chat/deep/er", "chat/deep"}, {"a", "/chat/deeper", "chat"}, {"a", "/", ""}, {"a", "/Chat", ""},
		{"a", "/slash", "slash"}, {"a", "/slash/x", "slash"}, {"a", "/slashed", ""},
		{"chat.example.com", "/", "host"}, {"CHAT.example.COM:8080", "/x", "host"}, {"chat.example.com.", "/chat/x", "host/chat"},
		{"chat.example.com", "/chat/deep", "host/chat"}, // the host's own come first
		{"[::1]:80", "/", "six"}, {"[::1]", "/", "six"},
		{"narrow.example", "/only/x", "narrow"}, {"narrow.example", "/chat", "chat"}, {"narrow.example", "/", ""},
		{"", "/chat", "chat"}, {"a", "/caf%C3%A9", "café"},
		// In the form in which it is forwarded: what is not written so is not it.
		{"a", "/ch%61t", ""}, {"a", "/chat%2fx", ""}, {"a", "//chat", ""},
	} {
		got := ""
		if s := tab.find(c.host, c.path); s != nil {
			got = s.name
		}
		if got != c.want {
			t.Errorf("find(%q, %q) = %q; want %q", c.host, c.path, got, c.want)
		}
	}
}

func TestACatchAllCatches(t *testing.T) {
	tab := newTable([]*site{{name: "all", path: "/"}})
	for _, path := range []string{"/", "/x", "//", "/%2e%2e/x", "/;"} {
		if s := tab.find("any", path); s == nil {
			t.Errorf("%q found nothing", path)
		}
	}
}

func TestClimbs(t *testing.T) {
	for path, want := range map[string]bool{
		"/a/b": false, "/a..b/..c/c../...": false, "/": false, "//": false, "/.well-known": false, "/a;..": false,
		"/..": true, "/a/../b": true, "/a/.": true, "/%2e%2e/admin": true, "/.%2E": true, "/%2e": true,
		"/a%2f..%2fb": true, "/a%2F%2e%2E": true, `/a\..\b`: true, "/a%5c..": true, "/..;x=1/admin": true, "/a/%2e%2e%5Cb": true,
	} {
		if got := climbs(path); got != want {
			t.Errorf("climbs(%q) = %v; want %v", path, got, want)
		}
	}
}

func FuzzClimbs(f *testing.F) {
	for _, s := range []string{"/a/../b", "/%2e%2E", "/a%2f..%5c", "/..;", "/%252e%252e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		// Whatever is put around a climbing path, it still climbs.
		if got := climbs("/x/" + path + "/../y"); !got {
			t.Errorf("climbs(%q) = false", "/x/"+path+"/../y")
		}
		if got := climbs("/x/" + path + "%2F%2e%2E"); !got {
			t.Errorf("climbs(%q) = false", "/x/"+path+"%2F%2e%2E")
		}
	})
}
