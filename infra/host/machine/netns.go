package machine

import "fmt"

// Netns returns the path of the network namespace of a host, of the switch or of the generator, for as long as the lab is up;
// "" for hosts that have none of their own.
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
