"""Files that people keep: trees and exports read as a source, and audited against an environment."""
