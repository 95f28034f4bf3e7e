// Holds objects of cert-manager and of the Prometheus operator to the schemas of `@kubernetes-models`.
// node custom_objects.mjs OBJECTS.json DIRECTORY_WITH_node_modules
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [file, directory] = process.argv.slice(2);
const PACKAGES = {
  "cert-manager.io/v1": "@kubernetes-models/cert-manager/cert-manager.io/v1",
  "monitoring.coreos.com/v1": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
};
const objects = JSON.parse(readFileSync(file, "utf8"));
for (const object of objects) {
  const path = `${directory}/node_modules/${PACKAGES[object.apiVersion]}/${object.kind}.js`;
  const models = await import(pathToFileURL(path));
  new models[object.kind](object).validate();
}
console.log(`${objects.length} valid`);
