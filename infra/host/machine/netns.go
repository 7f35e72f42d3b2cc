package machine

import "fmt"

// Netns is the path of the network namespace of a host, the switch or the generator while the lab is up; "" for hosts without one.
func (d *Driver) Netns(name string) (string, error) {
	h, err := d.Host(name)
	if err != nil {
		return "", err
	}
	n := h.(*node)
	if n.holder == 0 {
		return "", nil
	}
	return fmt.Sprintf("/proc/%d/ns/net", n.holder), nil
}
