package test

import "testing"

// TestPagesOverview watches a domain's overview and a device's page while
// devices come, publish and are refused.
func TestPagesOverview(t *testing.T) {
	t.Parallel()
	newSite(t).browse(t, "overview")
}
