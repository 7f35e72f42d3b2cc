// Package portalv1 is the portal's messages between the app, its users and its workers. It is generated from the .proto files of this
// directory; the routes that use them are in proto/routes.tsv.
package portalv1
