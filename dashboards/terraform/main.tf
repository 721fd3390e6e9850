# The boards beside this folder, in a Grafana folder of their own. As a module:
#
#   module "shipper_dashboards" {
#     source = "./dashboards/terraform"
#   }
#
# The provider takes address and token from GRAFANA_URL and GRAFANA_AUTH. Rules and alerts belong to Prometheus; see
# ../rules, and ../kubernetes for the operator.

terraform {
  required_version = ">= 1.3"

  required_providers {
    grafana = {
      source  = "grafana/grafana"
      version = ">= 3.0"
    }
  }
}

variable "folder_title" {
  description = "What the folder is called."
  type        = string
  default     = "Shipper"
}

variable "dashboards" {
  description = "Directory with the boards' JSON files; from `shipper dashboards export`, if not the ones beside this folder."
  type        = string
  default     = ""
}

locals {
  directory = var.dashboards != "" ? var.dashboards : "${path.module}/.."
}

resource "grafana_folder" "shipper" {
  uid   = "shipper"
  title = var.folder_title
}

resource "grafana_dashboard" "shipper" {
  for_each = fileset(local.directory, "*.json")

  folder      = grafana_folder.shipper.uid
  config_json = file("${local.directory}/${each.value}")
  message     = "Shipper's dashboards, by Terraform"
  overwrite   = true
}

output "urls" {
  description = "Where each board is, by its file name."
  value       = { for name, board in grafana_dashboard.shipper : name => board.url }
}
