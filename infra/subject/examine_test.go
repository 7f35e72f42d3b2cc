package subject

import "testing"

// TestRoleOf holds that the app's units are known on hosts where no topology has placed them yet: doctor must not offer to stop them.
func TestRoleOf(t *testing.T) {
	s := &Subject{Units: []string{"team.service", "mysql.service"}}
	services := []Service{{Name: "s1-nginx", Unit: "nginx.service"}, {Name: "s1-envoy"}}
	for unit, want := range map[string]string{"nginx.service": "s1-nginx", "team.service": "team", "other.service": "", "": ""} {
		if got := s.roleOf(unit, services); got != want {
			t.Errorf("unit %q has the role %q, want %q", unit, got, want)
		}
	}
}
