#!/bin/sh
# Puts an OpenSearch node together from the jars on Maven Central (needs mvn and a JDK of 11 or later):
#   tests/peers/opensearch/assemble.sh /tmp/opensearch && export OPENSEARCH_HOME=/tmp/opensearch
set -eu
here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
to=${1:?where to put it}
mkdir -p "$to/lib"
mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$to/lib"
javac -cp "$to/lib/*" -d "$to/lib" "$here/OpenSearchNode.java"
