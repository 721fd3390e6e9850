#!/bin/sh
# Puts an Elasticsearch node together from the jars on Maven Central (needs mvn and a JDK of 17 or later). The module for data streams
# is not there, so of those it has what the server itself does: making, writing to and rolling over, but not listing them.
#   tests/peers/elasticsearch/assemble.sh /tmp/elasticsearch && export ELASTICSEARCH_HOME=/tmp/elasticsearch
set -eu
here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
to=${1:?where to put it}
transport="$to/modules/transport-netty4"
mkdir -p "$to/lib" "$to/classes" "$transport"
mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$to/lib"
mv "$to"/lib/netty-*.jar "$to"/lib/transport-netty4-*.jar "$transport"
cat >"$transport/plugin-descriptor.properties" <<EOF
description=HTTP and transport
version=8.17.1
name=transport-netty4
classname=org.elasticsearch.transport.netty4.Netty4Plugin
java.version=17
elasticsearch.version=8.17.1
has.native.controller=false
extended.plugins=
modulename=
EOF
javac -cp "$to/lib/*" -d "$to/classes" "$here/ElasticsearchNode.java"
