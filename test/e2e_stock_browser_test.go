package test

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// The stock client in a browser, both versions, one page each, in every mode at once.
func TestStockClientInChromium(t *testing.T) {
	t.Parallel()
	for _, pkg := range stockPackages {
		t.Run(pkg, func(t *testing.T) {
			t.Parallel()
			r := newEngineRig(t, transport{}, patientEngine)
			r.lengthen()
			r.tour(t, stockInChromium(t, pkg, r.front.Addr()), "")
		})
	}
}

func (r *rig) tour(t *testing.T, d *driver, addr string) {
	t.Helper()
	for _, m := range modes {
		r.travel(t, d, m, addr, m.name)
	}
	r.wantClean(t)
}

func TestStockClientInChromiumBehindNginx(t *testing.T) {
	t.Parallel()
	r := newEngineRig(t, transport{}, patientEngine)
	r.lengthen()
	addr := startNginx(t, r.front.Addr(), nginxes[1].location) // which buffers both ways
	r.tour(t, stockInChromium(t, stockPackages[0], addr), addr)
}

// A page of another origin: by polling it needs leave by CORS, which it has where
// its origin is listed, and has not elsewhere.
func TestStockClientOfAnotherOrigin(t *testing.T) {
	t.Parallel()
	pages := httptest.NewServer(http.FileServer(http.Dir("node")))
	t.Cleanup(pages.Close)
	d := stockInChromium(t, stockPackages[0], pages.Listener.Addr().String())
	t.Run("listed", func(t *testing.T) {
		r := newEngineRig(t, transport{}, patientEngine+"origins: [\""+pages.URL+"\"]\n")
		r.lengthen()
		r.tour(t, d, "")
	})
	t.Run("not listed", func(t *testing.T) {
		r := newEngineRig(t, transport{}, patientEngine)
		for _, m := range modes {
			r.via = overStock(d, m, "")
			if _, err := r.try(m.name, 0); err == nil {
				t.Errorf("%s: a page of %s got in", m.name, pages.URL)
			} else {
				t.Logf("%s: %v", m.name, err)
			}
		}
	})
}
