from django.contrib import admin

from .models import Preference


@admin.register(Preference)
class PreferenceAdmin(admin.ModelAdmin):
    list_display = ["user", "theme", "density", "time_zone", "shortcuts"]
    list_filter = ["theme", "density"]
    search_fields = ["user__username"]
    readonly_fields = ["user"]
