package app

import (
	"time"

	routes "isukit/proto"
)

// IDTime gives the moment that is in an id, to the millisecond.
func IDTime(id int64) time.Time {
	return time.UnixMilli(id>>(idAppBits+idSequenceBits) + idEpochMS)
}

// Routes gives the routes that a portal of the role serves; RoleAll serves all of proto/routes.tsv.
func Routes(role Role) routes.Routes {
	var served routes.Routes
	for _, e := range (&portal{}).endpoints() {
		if role == RoleAll || e.role == role {
			served = append(served, e.Route)
		}
	}
	return served
}
