// Package portalv1 holds the portal's messages: what goes over the wire between the app, its users and its workers.
// It is generated from the .proto files beside it; the routes that use them are in proto/routes.tsv.
package portalv1
